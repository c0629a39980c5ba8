//! Messages, the canonical codec, and size limits.
