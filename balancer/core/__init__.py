"""Decisions: models, selection, health, limits, routing. No I/O and no reactor; time and chance are arguments."""
