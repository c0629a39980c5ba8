//! QUIC request and response with a pinned server key, size limits and back-pressure.
