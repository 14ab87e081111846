"""The only room with torch: pretrained weights, ONNX export, BaselineCNN, fine-tuning."""
