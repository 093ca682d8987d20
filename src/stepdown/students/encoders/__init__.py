"""Small pretrained encoders: found, fine-tuned, shrunk, written as int8 ONNX, and served without the training stack."""
