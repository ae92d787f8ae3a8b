"""The offline default: a small trained space of texts, pictures and sounds, and the generated world that it knows."""
