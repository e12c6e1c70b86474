from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PixelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_FORMAT_UNSPECIFIED: _ClassVar[PixelFormat]
    RGB24: _ClassVar[PixelFormat]
    BGR24: _ClassVar[PixelFormat]
    GRAY8: _ClassVar[PixelFormat]

class Locate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTO: _ClassVar[Locate]
    WHOLE_IMAGE: _ClassVar[Locate]
    DETECT: _ClassVar[Locate]

class HeatmapType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLOAT16: _ClassVar[HeatmapType]
    FLOAT32: _ClassVar[HeatmapType]
    UINT8: _ClassVar[HeatmapType]

class ModelKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_KIND_UNSPECIFIED: _ClassVar[ModelKind]
    POSE: _ClassVar[ModelKind]
    DETECTOR: _ClassVar[ModelKind]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    LOADING: _ClassVar[ModelState]
    READY: _ClassVar[ModelState]
    RETIRING: _ClassVar[ModelState]
    REFUSED: _ClassVar[ModelState]
PIXEL_FORMAT_UNSPECIFIED: PixelFormat
RGB24: PixelFormat
BGR24: PixelFormat
GRAY8: PixelFormat
AUTO: Locate
WHOLE_IMAGE: Locate
DETECT: Locate
FLOAT16: HeatmapType
FLOAT32: HeatmapType
UINT8: HeatmapType
MODEL_KIND_UNSPECIFIED: ModelKind
POSE: ModelKind
DETECTOR: ModelKind
MODEL_STATE_UNSPECIFIED: ModelState
LOADING: ModelState
READY: ModelState
RETIRING: ModelState
REFUSED: ModelState

class PredictRequest(_message.Message):
    __slots__ = ("request_id", "model", "version", "image", "boxes", "locate", "outputs", "thresholds", "flip_test", "timestamp_s", "timeout_ms", "detector")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    LOCATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    FLIP_TEST_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_S_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    version: int
    image: Image
    boxes: _containers.RepeatedCompositeFieldContainer[Box]
    locate: Locate
    outputs: Outputs
    thresholds: Thresholds
    flip_test: bool
    timestamp_s: float
    timeout_ms: int
    detector: str
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., boxes: _Optional[_Iterable[_Union[Box, _Mapping]]] = ..., locate: _Optional[_Union[Locate, str]] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., flip_test: _Optional[bool] = ..., timestamp_s: _Optional[float] = ..., timeout_ms: _Optional[int] = ..., detector: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("encoded", "raw")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    raw: RawImage
    def __init__(self, encoded: _Optional[bytes] = ..., raw: _Optional[_Union[RawImage, _Mapping]] = ...) -> None: ...

class RawImage(_message.Message):
    __slots__ = ("data", "height", "width", "format")
    DATA_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    height: int
    width: int
    format: PixelFormat
    def __init__(self, data: _Optional[bytes] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., format: _Optional[_Union[PixelFormat, str]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height", "angle")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ANGLE_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    angle: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ..., angle: _Optional[float] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("heatmaps", "heatmap_type", "joints")
    HEATMAPS_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_TYPE_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    heatmaps: bool
    heatmap_type: HeatmapType
    joints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, heatmaps: _Optional[bool] = ..., heatmap_type: _Optional[_Union[HeatmapType, str]] = ..., joints: _Optional[_Iterable[str]] = ...) -> None: ...

class Thresholds(_message.Message):
    __slots__ = ("joint", "person", "overlap")
    JOINT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    joint: float
    person: float
    overlap: float
    def __init__(self, joint: _Optional[float] = ..., person: _Optional[float] = ..., overlap: _Optional[float] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("request_id", "timestamp_s", "image_height", "image_width", "persons", "model", "detector", "provider", "timings", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_S_FIELD_NUMBER: _ClassVar[int]
    IMAGE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    PERSONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    timestamp_s: float
    image_height: int
    image_width: int
    persons: _containers.RepeatedCompositeFieldContainer[Person]
    model: ModelRef
    detector: ModelRef
    provider: str
    timings: Timings
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., timestamp_s: _Optional[float] = ..., image_height: _Optional[int] = ..., image_width: _Optional[int] = ..., persons: _Optional[_Iterable[_Union[Person, _Mapping]]] = ..., model: _Optional[_Union[ModelRef, _Mapping]] = ..., detector: _Optional[_Union[ModelRef, _Mapping]] = ..., provider: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Person(_message.Message):
    __slots__ = ("box", "score", "presence", "joints", "heatmaps")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    HEATMAPS_FIELD_NUMBER: _ClassVar[int]
    box: Box
    score: float
    presence: float
    joints: _containers.RepeatedCompositeFieldContainer[Joint]
    heatmaps: Heatmaps
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ..., presence: _Optional[float] = ..., joints: _Optional[_Iterable[_Union[Joint, _Mapping]]] = ..., heatmaps: _Optional[_Union[Heatmaps, _Mapping]] = ...) -> None: ...

class Joint(_message.Message):
    __slots__ = ("name", "x", "y", "score")
    NAME_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    x: float
    y: float
    score: float
    def __init__(self, name: _Optional[str] = ..., x: _Optional[float] = ..., y: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class Heatmaps(_message.Message):
    __slots__ = ("type", "shape", "data", "scale", "to_image")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    TO_IMAGE_FIELD_NUMBER: _ClassVar[int]
    type: HeatmapType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    scale: _containers.RepeatedScalarFieldContainer[float]
    to_image: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, type: _Optional[_Union[HeatmapType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ..., scale: _Optional[_Iterable[float]] = ..., to_image: _Optional[_Iterable[float]] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("decode", "queue", "inference", "total")
    DECODE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    decode: float
    queue: float
    inference: float
    total: float
    def __init__(self, decode: _Optional[float] = ..., queue: _Optional[float] = ..., inference: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("ref", "kind", "state", "reason", "licence", "joints", "manifest_json", "is_default")
    REF_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    ref: ModelRef
    kind: ModelKind
    state: ModelState
    reason: str
    licence: str
    joints: _containers.RepeatedScalarFieldContainer[str]
    manifest_json: str
    is_default: bool
    def __init__(self, ref: _Optional[_Union[ModelRef, _Mapping]] = ..., kind: _Optional[_Union[ModelKind, str]] = ..., state: _Optional[_Union[ModelState, str]] = ..., reason: _Optional[str] = ..., licence: _Optional[str] = ..., joints: _Optional[_Iterable[str]] = ..., manifest_json: _Optional[str] = ..., is_default: _Optional[bool] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...
