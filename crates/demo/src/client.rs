//! The clients' tasks: honest, malicious, vanishing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rand_core::OsRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Duration;
use veilsum::crypto::{Digest, VerifyingKey};
use veilsum::encoding::Encoder;
use veilsum::params::{ClientId, MemberIndex, Policy};
use veilsum::proof::Prepared;
use veilsum::protocol::{Check, ClientError as MachineError, Message};
use veilsum::{
    Answer, Client, ClientError, ClientKeys, ClientOptions, Joined, Observer, RequestError,
    Requests, ServerPublic, ServerStatus,
};

use crate::error::DemoError;
use crate::forge::{Twist, forge};
use crate::learning::{ATTACK_FACTOR, Federation};
use crate::plan::{Attack, Behaviour, Dropout, usize_of};
use crate::run::{Ledger, QUIET};

/// How long a client of the demo waits for anything.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often a client that vanishes before it contributes looks whether the server knows it.
const STAY: Duration = Duration::from_millis(200);

/// What the clients are told about a round besides what the server announces: the model to train.
#[derive(Clone, Debug)]
pub(crate) struct RoundTask {
    pub(crate) round: u64,
    pub(crate) global: Arc<Vec<f32>>,
    pub(crate) model_digest: Digest,
}

/// What a client tells about a round.
#[derive(Debug)]
pub(crate) struct ClientReport {
    pub(crate) client: ClientId,
    pub(crate) round: u64,
    pub(crate) receipted: bool,
    pub(crate) light_check: bool,
    /// The check for which it refused the result, or was refused it.
    pub(crate) refused: Option<Check>,
    /// Files of evidence that it wrote.
    pub(crate) evidence: Vec<PathBuf>,
    pub(crate) error: Option<DemoError>,
}

/// A client and its data.
pub(crate) struct ClientTask {
    pub(crate) place: usize,
    pub(crate) keys: ClientKeys,
    pub(crate) behaviour: Behaviour,
    pub(crate) server: SocketAddr,
    pub(crate) server_public: ServerPublic,
    pub(crate) registrar: VerifyingKey,
    pub(crate) state: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) federation: Arc<Federation>,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) ledger: Arc<Ledger>,
    /// See [`Interference::late_member`](crate::Interference::late_member).
    pub(crate) late_member: bool,
    /// To tell the server when the client does not come again: waiting would tell it too, and be wrong on a machine that
    /// stands still.
    pub(crate) server_told: Observer,
}

impl ClientTask {
    /// Takes part in every round until there are no more.
    pub(crate) async fn run(
        self,
        mut tasks: watch::Receiver<Option<RoundTask>>,
        reports: mpsc::UnboundedSender<ClientReport>,
    ) -> Result<(), DemoError> {
        while tasks.changed().await.is_ok() {
            let Some(task) = tasks.borrow_and_update().clone() else {
                continue;
            };
            let mut report = ClientReport {
                client: self.keys.client(),
                round: task.round,
                receipted: false,
                light_check: false,
                refused: None,
                evidence: Vec::new(),
                error: None,
            };
            report.error = self.round(&task, &mut report).await.err();
            let client = report.client;
            self.server_told.departed(task.round, client).await;
            // Nobody listens any more when the demo has failed.
            if reports.send(report).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn options(&self) -> Result<ClientOptions, DemoError> {
        Ok(ClientOptions {
            server: self.server.into(),
            server_public: self.server_public.clone(),
            registrar: self.registrar,
            keys: ClientKeys::from_text(&self.keys.to_text())?,
            state: self.state.join(self.keys.client().to_string()),
            policy: self.policy,
            task: veilsum::TaskName::default(),
            patience: PATIENCE,
        })
    }

    async fn round(&self, task: &RoundTask, report: &mut ClientReport) -> Result<(), DemoError> {
        let mut client = Client::open(self.options()?).await?;
        client.share_tables(Arc::clone(&self.prepared));
        let joined = client.join(task.round.saturating_sub(1)).await?;
        if self.behaviour == Behaviour::Dropout(Dropout::BeforeContributing) {
            // Until the server has heard of it: else it would be waited for.
            let own = self.keys.client();
            let known = self.until(client.requests().clone(), task.round, |open| {
                open.clients_awaited.contains(&own)
            });
            let _ = tokio::time::timeout(PATIENCE, known).await;
            client.close().await;
            return Ok(());
        }
        let update = self.train(task).await?;
        report.receipted = match self.behaviour {
            Behaviour::Malicious(attack) => {
                self.attack(&mut client, &joined, attack, &update).await?
            }
            Behaviour::Honest | Behaviour::Dropout(_) => {
                let x = self
                    .encoder(&joined)?
                    .encode(&update, &mut OsRng)?
                    .into_values();
                self.ledger.note(task.round, client.id(), &x);
                match client.contribute(&joined, task.model_digest, x).await {
                    Ok(_) => true,
                    Err(
                        ClientError::Request(RequestError::Refused(_)) | ClientError::Closed { .. },
                    ) => false,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if self.late_member && joined.member == Some(MemberIndex(1)) {
            self.until(client.requests().clone(), task.round, |open| open.phase > 0)
                .await?;
            tokio::time::sleep(2 * QUIET).await;
        }
        if self.behaviour == Behaviour::Dropout(Dropout::AfterEndorsing) {
            client
                .serve(&joined, |message| !matches!(message, Message::Endorse(_)))
                .await?;
            client.close().await;
            return Ok(());
        }
        client.serve(&joined, |_| true).await?;
        if report.receipted && !matches!(self.behaviour, Behaviour::Malicious(_)) {
            match client.result(&joined).await {
                Ok(_) => report.light_check = true,
                Err(ClientError::Machine(
                    MachineError::Refused(refusal) | MachineError::Convicting { refusal, .. },
                )) => report.refused = Some(refusal.check),
                Err(ClientError::Request(RequestError::Refused(check))) => {
                    report.refused = Some(check);
                }
                Err(error) => return Err(error.into()),
            }
        }
        report.evidence = client.evidence().to_vec();
        client.close().await;
        Ok(())
    }

    /// Waits until the server says so of the round, or has a later one.
    async fn until(
        &self,
        requests: Requests,
        round: u64,
        reached: impl Fn(&ServerStatus) -> bool,
    ) -> Result<(), DemoError> {
        loop {
            let tasks = requests.status().await;
            let tasks = tasks.map_err(ClientError::from)?;
            let known = tasks
                .iter()
                .filter_map(|task| task.round.as_ref())
                .any(|open| open.round > round || open.round == round && reached(open));
            if known {
                return Ok(());
            }
            tokio::time::sleep(STAY).await;
        }
    }

    async fn train(&self, task: &RoundTask) -> Result<Vec<f32>, DemoError> {
        let (federation, place, global) = (
            Arc::clone(&self.federation),
            self.place,
            Arc::clone(&task.global),
        );
        let round = u32::try_from(task.round.saturating_sub(1)).unwrap_or(u32::MAX);
        let trained =
            tokio::task::spawn_blocking(move || federation.local_update(place, round, &global));
        Ok(trained.await.map_err(|_| DemoError::Task)??)
    }

    fn encoder(&self, joined: &Joined) -> Result<Encoder, DemoError> {
        let params = joined.context.params();
        Ok(Encoder::new(
            usize_of(params.dim),
            params.scale_bits,
            params.norm_bound.into(),
        )?)
    }

    /// Builds and sends a malicious contribution; whether there is a receipt for it.
    async fn attack(
        &self,
        client: &mut Client,
        joined: &Joined,
        attack: Attack,
        update: &[f32],
    ) -> Result<bool, DemoError> {
        let (context, own) = (&joined.context, client.id());
        let (x, twist) = match attack {
            Attack::Scaled => {
                let scale =
                    f64::from(ATTACK_FACTOR) * f64::from(context.params().scale_bits).exp2();
                // Far below 2^53: the conversion is exact.
                let x = update
                    .iter()
                    .map(|u| (f64::from(*u) * scale).round() as i64)
                    .collect::<Vec<_>>();
                (x.into(), Twist::Unclipped)
            }
            Attack::OverNorm => {
                let x = self
                    .encoder(joined)?
                    .encode(update, &mut OsRng)?
                    .into_values();
                (
                    over_norm(&x, context.params().norm_bound).into(),
                    Twist::Unclipped,
                )
            }
            Attack::ProofOfAnother | Attack::BadShare => {
                let x = self
                    .encoder(joined)?
                    .encode(update, &mut OsRng)?
                    .into_values();
                let twist = if attack == Attack::BadShare {
                    Twist::BadShare(victim(joined))
                } else {
                    let other = context
                        .cohort()
                        .iter()
                        .find(|other| **other != own)
                        .copied();
                    Twist::ProofFor(other.unwrap_or(own))
                };
                (x, twist)
            }
        };
        self.ledger.note(joined.round_id(), own, &x);
        let round = client.proof_round(context).await?;
        let made = tokio::task::block_in_place(|| {
            forge(context, &round, client.keys(), &x, twist, &mut OsRng)
        })?;
        let body = made.body.to_bytes().into();
        match client
            .requests()
            .submit(joined.round_id(), &made.header, body)
            .await
        {
            Ok(Answer::Ready(_)) => Ok(true),
            Ok(_) | Err(RequestError::Refused(_)) => Ok(false),
            Err(error) => Err(ClientError::from(error).into()),
        }
    }
}

/// The update made a quarter longer than the norm bound, so that the sum still opens: the search for it ends where honest
/// updates could not reach. No coordinate is above half of the bound.
fn over_norm(x: &[i64], bound: u32) -> Vec<i64> {
    let norm = x.iter().map(|v| (*v as f64).powi(2)).sum::<f64>().sqrt();
    let factor = 1.25 * f64::from(bound) / norm.max(1.0);
    let half = i64::from(bound) / 2;
    x.iter()
        .map(|v| ((*v as f64 * factor) as i64).clamp(-half, half))
        .collect()
}

/// The member that gets the bad share: any but the dealer itself.
fn victim(joined: &Joined) -> MemberIndex {
    match joined.member {
        Some(MemberIndex(1)) => MemberIndex(2),
        _ => MemberIndex(1),
    }
}
