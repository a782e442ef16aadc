"""The main job from nothing, data to verdict; one file a task."""

from kd3d.demo.run import TASKS, run_demo, run_students

__all__ = ["TASKS", "run_demo", "run_students"]
