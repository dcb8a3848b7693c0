"""What happens around training: checkpoints, early stopping, logging. Each is a Lightning callback."""
