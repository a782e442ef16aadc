"""Many runs from one file: arms x students x seeds, resumable, with paired gains at the end."""
