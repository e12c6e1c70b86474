"""Video in, keypoints out: reading, segments, tracks, smoothing, result files, overlays and reports.

Every module here imports PyAV, pyarrow, pandas and h5py inside functions only: they come with `poseglass[video]`.
"""
