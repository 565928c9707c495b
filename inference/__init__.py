"""(prompt, response) in, scores out: encoding, batching, engines and streams."""
