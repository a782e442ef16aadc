"""Training and testing through mmengine: runner, hooks, export."""
