"""Figures that the project renders itself, with exact joints: a data set that is always at hand."""

from poseglass_training.figures.bodies import Variety
from poseglass_training.figures.rendering import Figure, render_figure

__all__ = ["Figure", "Variety", "render_figure"]
