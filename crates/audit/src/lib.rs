//! Replays transcripts and judges evidence, independently of the server.
