//! Clients of a round that are no processes: one that sends a false proof, one that joins and goes away.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::runtime::Runtime;
use veilsum::proof::Round;
use veilsum::protocol::{Bytes, RoundContext, Upload};
use veilsum::transport::{Client as Connection, ClientConfig};
use veilsum::{Answer, ClientKeys, RequestError, Requests, RoundRequests, ServerPublic};

use super::seen::Cheat;
use crate::Deployment;
use crate::forge::forged;

/// How long a server that was killed may take to be there again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that is no process.
pub(super) struct Hand {
    keys: ClientKeys,
    server: ServerPublic,
    address: String,
    context: Arc<RoundContext>,
}

impl Hand {
    pub(super) fn new(
        deployment: &Deployment,
        client: u32,
        address: &str,
        context: &Arc<RoundContext>,
    ) -> Self {
        let read = |name: &str| fs::read(deployment.file(name)).unwrap();
        Self {
            keys: ClientKeys::from_text(&read(&format!("client-{client}.key"))).unwrap(),
            server: ServerPublic::from_text(&read("server.key.pub")).unwrap(),
            address: address.to_owned(),
            context: Arc::clone(context),
        }
    }

    /// Joins the round.
    async fn join(&self) -> Result<(Requests, RoundRequests), RequestError> {
        let mut jitter = [0; 32];
        OsRng.fill_bytes(&mut jitter);
        let address: std::net::SocketAddr = self.address.parse().unwrap();
        let config = ClientConfig::new(jitter);
        let connection = Connection::new(address, self.server.transport, config)?;
        let requests = Requests::new(connection, PATIENCE);
        let before = self.context.params().round_id - 1;
        while !matches!(requests.announcement(before).await?, Answer::Ready(_)) {}
        let own = requests.in_round(&self.context, self.keys.client(), self.keys.identity());
        own.prepare().await?;
        Ok((requests, own))
    }

    /// Joins and goes away. A server that is killed forgets who joined: to be done again then.
    pub(super) fn visit(&self) -> Result<(), RequestError> {
        runtime().block_on(async {
            let (requests, _) = self.join().await?;
            requests.close().await;
            Ok(())
        })
    }

    /// Sends a contribution with a false proof until it is refused.
    pub(super) fn cheat(&self, proof: &Round, x: &[i64]) -> Result<Cheat, String> {
        let (header, body) =
            forged(&self.context, proof, &self.keys, x).map_err(|why| why.to_string())?;
        let bytes: Arc<[u8]> = body.to_bytes().into();
        let round = self.context.params().round_id;
        let sent = runtime().block_on(async {
            let (requests, _) = self.join().await?;
            let answer = loop {
                match requests.submit(round, &header, Arc::clone(&bytes)).await {
                    Ok(Answer::Again) => {}
                    other => break other,
                }
            };
            requests.close().await;
            answer
        });
        match sent {
            Err(RequestError::Refused(check)) if check.id().starts_with("proof.") => Ok(Cheat {
                client: self.keys.client(),
                upload: Upload {
                    header,
                    body: Bytes(bytes.to_vec()),
                },
                check,
            }),
            other => Err(format!("a false proof was answered with {other:?}")),
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
