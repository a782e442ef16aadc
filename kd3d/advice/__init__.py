"""Which method to try on a pair of detectors, and why."""
