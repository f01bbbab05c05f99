"""Real-ESRGAN's anime networks, which draw a photo that was shrunk four times as large."""
