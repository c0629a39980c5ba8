//! Real updates to bounded integers and back.
