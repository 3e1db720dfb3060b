"""What keeps secrets out of messages, tracebacks and logs."""
