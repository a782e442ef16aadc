"""Where a term looks: non-negative weights on cells or rows. This package imports torch only."""
