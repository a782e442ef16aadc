"""How much of a detector's score is left when its sensors get worse."""
