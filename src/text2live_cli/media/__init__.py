"""What comes in and goes out: pictures, clips, tensors, records; hostile until it is checked."""
