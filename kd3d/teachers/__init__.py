"""Where knowledge comes from: models that fill taps without being trained."""
