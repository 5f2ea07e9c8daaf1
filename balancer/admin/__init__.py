"""What operators see and say: the access log, events. It never carries traffic."""
