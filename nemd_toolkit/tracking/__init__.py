"""A folder of checkpoints over training: curves, when each finding begins, the best one."""

from nemd_toolkit.tracking.course import Course
from nemd_toolkit.tracking.tracking import Tracked, track

__all__ = ["Course", "Tracked", "track"]
