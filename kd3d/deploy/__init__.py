"""From a trained student to a folder that runs without torch: graphs, runtime, checks, card."""
