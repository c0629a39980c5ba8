//! A client: `cargo run -p veilsum --example client -- ADDR SERVER.pub REGISTRAR.pub CLIENT.key STATE`. Its update is a
//! vector of zeros. Keys are made with `veilsum keygen`.
//! Four clients are enough to try it.

use std::{env::args, fs::read, path::PathBuf, time::Duration};

use veilsum::{
    Client, ClientKeys, ClientOptions, ServerPublic, TaskName, crypto::Digest, params::Policy,
    registrar_from_text,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [server, server_key, registrar, key, state] = args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "five arguments are needed: see the first lines of this file")?;
    let mut client = Client::open(ClientOptions {
        server: server.parse::<std::net::SocketAddr>()?.into(),
        server_public: ServerPublic::from_text(&read(server_key)?)?,
        registrar: registrar_from_text(&read(registrar)?)?,
        keys: ClientKeys::from_text(&read(key)?)?,
        state: PathBuf::from(state),
        // The default asks for 10 contributions and 10 members at least.
        policy: Policy {
            n_min: 3,
            committee: 4,
            ..Policy::default()
        },
        task: TaskName::default(),
        patience: Duration::from_secs(3600),
    })
    .await?;
    let round = client.join(0).await?;
    let update = vec![0.0; usize::try_from(round.context.params().dim)?];
    let part = client.take_part(&round, Digest([0; 32]), &update).await?;
    println!(
        "the mean begins with {:?}",
        &part.mean[..part.mean.len().min(3)]
    );
    Ok(())
}
