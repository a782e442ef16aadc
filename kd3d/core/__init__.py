"""The machine: distiller, terms, taps, specs; a method's author never edits it."""
