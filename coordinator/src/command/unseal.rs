//! `coordinator unseal`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use host::exit::{CliError, Exit};
use reqwest::redirect::Policy;
use sha2::{Digest as _, Sha256 as Hasher};
use streams::{
    control::{UnsealRequest, UnsealStarted},
    kv::{Bucket, BucketName},
    nats::Nats,
    proof::{Bytes32, Sha256},
    sector::SectorRecord,
};
use tokio::io::AsyncWriteExt as _;

use super::ask::{ANSWERED_WITHIN, ask};
use crate::{app::unavailable, cli::Unseal, pieces::Refusal};

/// How often the coordinator is asked whether the bytes are there: seldom enough for hours, often enough for a demo.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn unseal(nats: &Nats, args: Unseal) -> Result<(), CliError> {
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        let message = format!("{} exists already", out.display());
        return Err(CliError::new(Exit::Refused, message).hint("name another file with --out"));
    }
    let wanted = digest(nats, &args).await?;
    let piece = args.piece.and_then(|piece| u64::try_from(piece).ok());
    let request = UnsealRequest { sector: args.sector, piece, to: args.to.clone() };
    let started = ask(nats, &request, ANSWERED_WITHIN).await?;
    eprintln!("unsealing {} bytes of sector {}", started.bytes, args.sector);
    match (&args.out, &args.to) {
        (Some(out), _) => into_file(&started, args.limit, out, wanted).await?,
        (None, Some(to)) => {
            until_whole(&started, args.limit, Policy::none()).await?;
            println!("{to}");
        }
        (None, None) => {}
    }
    if wanted.is_some() {
        eprintln!("its SHA-256 is that of the submitted piece");
    }
    Ok(())
}

async fn into_file(
    started: &UnsealStarted,
    limit: Duration,
    out: &Path,
    wanted: Option<Sha256>,
) -> Result<(), CliError> {
    let shown = out.display().to_string();
    let response = until_whole(started, limit, Policy::default()).await?;
    let partial = out.with_extension("partial");
    if let Err(error) = receive(response, &partial, started, wanted).await {
        // What is incomplete, or wrong, must not be taken for the data.
        let _gone = std::fs::remove_file(&partial);
        return Err(error);
    }
    host::durable::rename(&partial, out).map_err(|e| CliError::new(Exit::Io, format!("write {shown}")).because(e))?;
    println!("{shown}");
    Ok(())
}

/// The digest that the piece had when it was submitted.
async fn digest(nats: &Nats, args: &Unseal) -> Result<Option<Sha256>, CliError> {
    let sectors: Bucket<SectorRecord> =
        Bucket::open(nats, BucketName::Sectors).await.map_err(|e| unavailable("read sectors", e))?;
    let entry = sectors.get(&args.sector.key()).await.map_err(|e| unavailable("read the sector", e))?;
    let record = entry.ok_or_else(|| super::listings::no_sector(args.sector))?.value;
    let Some(index) = args.piece else { return Ok(None) };
    let count = record.pieces.len();
    match record.pieces.get(index) {
        Some(piece) => Ok(Some(piece.payload_sha256)),
        None => {
            Err(CliError::new(Exit::NotFound, format!("sector {} has no piece {index}: it has {count}", args.sector)))
        }
    }
}

/// Waits until the bytes are there. They may be in a bucket, of which the answer then says the address: whether it is
/// followed is up to `policy`.
async fn until_whole(started: &UnsealStarted, limit: Duration, policy: Policy) -> Result<reqwest::Response, CliError> {
    let web = reqwest::Client::builder().redirect(policy).build();
    let web = web.map_err(|e| CliError::new(Exit::Failure, "set up HTTP").because(e))?;
    let began = Instant::now();
    let mut pause = LOOK_FIRST;
    let mut is_away = false;
    loop {
        let is_late = began.elapsed() > limit;
        match web.get(&started.url).send().await {
            Ok(response) => match response.status() {
                status if status.is_success() || status.is_redirection() => return Ok(response),
                reqwest::StatusCode::NOT_FOUND | reqwest::StatusCode::SERVICE_UNAVAILABLE => is_away = false,
                status => {
                    let words =
                        response.json::<Refusal>().await.map_or_else(|_| status.to_string(), |refusal| refusal.error);
                    return Err(CliError::new(Exit::Failure, format!("unseal: {words}")));
                }
            },
            // A coordinator that starts again still has the order.
            Err(error) if !is_late && !error.is_builder() && !error.is_redirect() => {
                if !std::mem::replace(&mut is_away, true) {
                    let why = host::exit::chain(&error.without_url());
                    eprintln!("the coordinator is away, {} is asked again: {why}", started.url);
                }
            }
            Err(error) => return Err(broken(started, error)),
        }
        if is_late {
            return Err(CliError::new(
                Exit::Unavailable,
                format!("the bytes did not come within {}", humantime::format_duration(limit)),
            )
            .hint(format!("they may still come: GET {}", started.url)));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// The address that was redirected to lets anybody in for a while: it is not told.
fn broken(started: &UnsealStarted, error: reqwest::Error) -> CliError {
    CliError::new(Exit::Unavailable, format!("fetch {}", started.url)).because(error.without_url())
}

async fn receive(
    response: reqwest::Response,
    to: &Path,
    started: &UnsealStarted,
    wanted: Option<Sha256>,
) -> Result<(), CliError> {
    let shown = to.display().to_string();
    let io = |e| CliError::new(Exit::Io, format!("write {shown}")).because(e);
    let mut file = tokio::fs::File::create(to).await.map_err(io)?;
    let mut hasher = Hasher::new();
    let mut length: u64 = 0;
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| broken(started, e))?;
        length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(io)?;
    }
    file.flush().await.map_err(io)?;
    file.sync_all().await.map_err(io)?;
    let found = Bytes32(hasher.finalize().into());
    if length != started.bytes {
        return Err(CliError::new(Exit::Data, format!("{length} bytes came, {} were unsealed", started.bytes)));
    }
    match wanted.filter(|wanted| *wanted != found) {
        Some(wanted) => Err(CliError::new(
            Exit::Data,
            format!("the unsealed piece has SHA-256 {found}, it was submitted with {wanted}"),
        )
        .hint("the replica, or the way here, is damaged: unseal again, then check the store")),
        None => Ok(()),
    }
}
