"""Stock detectors by reference, and their smaller versions."""
