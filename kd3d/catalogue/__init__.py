"""What there is: methods and their parts, teachers, and what is known of each."""
