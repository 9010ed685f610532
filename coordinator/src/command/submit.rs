//! `coordinator submit`.

use std::path::{Path, PathBuf};

use host::{
    exit::{CliError, Exit},
    output::{Column, Format, Listing},
};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::{
    control::{Info, InfoRequest, SubmitRequest, Submitted},
    nats::Nats,
    proof::{Bytes32, SealProof, Sha256},
    sector::Piece,
};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::ask::{ANSWERED_WITHIN, ask};
use crate::{
    cli::Submit,
    packing::check_fits,
    pieces::{Read, Refusal, S3Url, SCHEME, Stored},
};

/// How many sectors are created in a second, at the very least: sets how long the answer may take.
const SECTORS_A_SECOND_MIN: u64 = 20;

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Something to seal.
enum Source {
    File { path: PathBuf, bytes: u64 },
    Url(String),
}

pub(crate) async fn submit(nats: &Nats, args: Submit) -> Result<(), CliError> {
    let info = ask(nats, &InfoRequest {}, ANSWERED_WITHIN).await?;
    let proof = proof_of(&info, &args)?;
    // All are checked before the first is sent, so that a refusal leaves nothing behind.
    let sources = args.pieces.iter().map(|name| source(name, proof)).collect::<Result<Vec<_>, _>>()?;
    let mut pieces = Vec::with_capacity(sources.len());
    let web = reqwest::Client::new();
    for (source, name) in sources.iter().zip(&args.pieces) {
        let stored = match source {
            Source::File { path, bytes } => upload(&web, &info, path, *bytes, proof).await?,
            Source::Url(url) => read(&web, &info, url, proof).await?,
        };
        pieces.push(piece(source, name, stored));
    }
    let count = args.count.unwrap_or(0);
    let limit = ANSWERED_WITHIN + std::time::Duration::from_secs(count / SECTORS_A_SECOND_MIN);
    let submitted = ask(nats, &SubmitRequest { miner: args.miner, count, pieces }, limit).await?;
    print(&submitted, args.output.output)
}

fn proof_of(info: &Info, args: &Submit) -> Result<SealProof, CliError> {
    let found = info.miners.iter().position(|miner| *miner == args.miner).and_then(|index| info.proofs.get(index));
    found.copied().ok_or_else(|| {
        let known: Vec<String> = info.miners.iter().map(ToString::to_string).collect();
        let hint = if known.is_empty() {
            "it has none yet: `coordinator miner create`, or name one in coordinator.toml".to_owned()
        } else {
            format!("it seals for {}", known.join(", "))
        };
        CliError::new(Exit::NotFound, format!("miner {} is not one of this coordinator's", args.miner)).hint(hint)
    })
}

fn source(name: &str, proof: SealProof) -> Result<Source, CliError> {
    if name.starts_with(SCHEME) {
        let url: S3Url = name.parse().map_err(|why| CliError::new(Exit::Usage, format!("{name}: {why}")))?;
        return Ok(Source::Url(url.to_string()));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(Source::Url(name.to_owned()));
    }
    let path = PathBuf::from(name);
    let unreadable = |e| CliError::new(Exit::NotFound, format!("cannot read {name}")).because(e);
    let metadata = std::fs::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(
            CliError::new(Exit::Usage, format!("{name} is not a file")).hint("pack a folder into one file first")
        );
    }
    if metadata.len() == 0 {
        return Err(CliError::new(Exit::Usage, format!("{name} is empty")));
    }
    check_fits(name, metadata.len(), proof).map_err(too_large)?;
    Ok(Source::File { path, bytes: metadata.len() })
}

fn too_large(error: crate::packing::TooLarge) -> CliError {
    CliError::new(Exit::Refused, error.to_string()).hint("split it, or use a miner with larger sectors")
}

fn piece(source: &Source, name: &str, stored: Stored) -> Piece {
    let name = match source {
        Source::File { path, .. } => {
            path.file_name().map_or_else(|| name.to_owned(), |n| n.to_string_lossy().into_owned())
        }
        Source::Url(url) => url.clone(),
    };
    let Stored { url, payload_bytes, payload_sha256, padded_bytes, commitment } = stored;
    Piece { name, url, payload_bytes, payload_sha256, padded_bytes, offset_padded: 0, commitment }
}

async fn upload(
    web: &reqwest::Client,
    info: &Info,
    path: &Path,
    bytes: u64,
    proof: SealProof,
) -> Result<Stored, CliError> {
    let shown = path.display().to_string();
    let unreadable = |e| CliError::new(Exit::NotFound, format!("cannot read {shown}")).because(e);
    // Where pieces are kept in a bucket, it is the name, which has to be known before the first byte is sent.
    let sha256 = digest(path).await.map_err(unreadable)?;
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, CHUNK_BYTES));
    let url = format!("{}/pieces?limit={}&sha256={sha256}", info.http, proof.unpadded_size());
    // The length goes ahead, so that the other side can say no before it has read it all.
    let request = web.put(url).header(reqwest::header::CONTENT_LENGTH, bytes).body(body);
    let stored = answer(request, &format!("upload {shown}")).await?;
    if stored.payload_bytes != bytes {
        return Err(CliError::new(Exit::Io, format!("{shown} changed while it was uploaded")));
    }
    Ok(stored)
}

async fn digest(path: &Path) -> std::io::Result<Sha256> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hasher, mut chunk) = (Hasher::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk).await?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
    }
    Ok(Bytes32(hasher.finalize().into()))
}

async fn read(web: &reqwest::Client, info: &Info, url: &str, proof: SealProof) -> Result<Stored, CliError> {
    let body = Read { url: url.to_owned(), limit: proof.unpadded_size() };
    eprintln!("the coordinator reads {url} once, for its digest and commitment");
    answer(web.post(format!("{}/pieces/read", info.http)).json(&body), &format!("read {url}")).await
}

async fn answer(request: reqwest::RequestBuilder, what: &str) -> Result<Stored, CliError> {
    let failed = |e: reqwest::Error| {
        CliError::new(Exit::Unavailable, what.to_owned())
            .because(e)
            .hint("is the coordinator's http.advertise reachable from here?")
    };
    let response = request.send().await.map_err(failed)?;
    if response.status().is_success() {
        return response.json().await.map_err(failed);
    }
    let status = response.status();
    let words = response.json::<Refusal>().await.map_or_else(|_| status.to_string(), |refusal| refusal.error);
    Err(CliError::new(Exit::Refused, format!("{what}: {words}")))
}

fn print(submitted: &Submitted, format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        let text = serde_json::to_string_pretty(submitted)
            .map_err(|e| CliError::new(Exit::Failure, "write the answer").because(e))?;
        println!("{text}");
        return Ok(());
    }
    let mut listing = Listing::new([Column::new("SECTOR")]);
    for sector in &submitted.sectors {
        listing.row([sector.to_string()], sector)?;
    }
    listing.print(format)?;
    if let Some(first) = submitted.sectors.first() {
        eprintln!("next: coordinator sectors show {first}");
    }
    Ok(())
}
