"""From an object's bytes to what encoders prepare: pictures, windows of sounds, texts, frames of videos."""
