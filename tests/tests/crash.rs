//! A short run of what `cargo run -p veilsum-e2e --release --bin crash` does for hours.

#[test]
fn killed_parties_go_on_where_their_logs_end() {
    let tally = veilsum_e2e::crash::run(16, 7, |_| {});
    assert!(
        tally.server_kills > 0 && tally.client_kills > 0,
        "{tally:?}"
    );
}
