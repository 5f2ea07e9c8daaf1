"""Turns names into whole sets of backend specs. It never diffs them: that is the registry's work."""
