"""The wires that large models are spoken to on, each translated to OpenAI chat.completions shape and back."""
