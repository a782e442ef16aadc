"""The data flow of one experiment, as a graph and as a page."""
