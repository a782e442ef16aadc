"""From run folders to one page that says honestly whether distillation helped."""
