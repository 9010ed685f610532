//! `$JS.API.…`: questions about streams and consumers, and their creation, in the server's words.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    consumer::Consumer,
    server::{Server, Time, matches},
    stream::{Refused, Stored, Stream},
};

pub(super) fn refused((code, err_code, description): &Refused) -> Bytes {
    json!({ "error": { "code": code, "err_code": err_code, "description": description } }).to_string().into()
}

fn refusal(code: u64, err_code: u64, description: &str) -> Refused {
    (code, err_code, description.to_owned())
}

/// Answers a call of the API.
pub(super) fn answer(server: &mut Server, verb: &str, payload: &Bytes, now: Time) -> Bytes {
    let body: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    match call(server, verb, &body, now) {
        Ok(body) => body.to_string().into(),
        Err(words) => refused(&words),
    }
}

fn call(server: &mut Server, verb: &str, body: &Value, now: Time) -> Result<Value, Refused> {
    if let Some(name) = verb.strip_prefix("STREAM.INFO.") {
        let (stream, consumers) = held(server, name)?;
        let mut info = stream_info(stream, consumers, body, now);
        if server.weakness.blind.contains(&stream.config.name)
            && let Some(subjects) = info.pointer_mut("/state/subjects")
        {
            *subjects = json!({});
        }
        return Ok(info);
    }
    if let Some(name) = verb.strip_prefix("STREAM.CREATE.") {
        return create_stream(server, name, body, now);
    }
    if let Some(name) = verb.strip_prefix("STREAM.DELETE.") {
        held(server, name)?;
        if let Some((_, consumers)) = server.streams.get_mut(name) {
            consumers.iter_mut().for_each(|one| one.end_pulls(|| super::consumer::Answer::Deleted));
        }
        server.streams.remove(name);
        server.changed(name).notify_waiters();
        return Ok(json!({ "success": true }));
    }
    if let Some(name) = verb.strip_prefix("STREAM.PURGE.") {
        return purge(server, name, body, now);
    }
    if let Some(name) = verb.strip_prefix("STREAM.MSG.GET.") {
        return get_message(server, name, body, now);
    }
    if verb == "STREAM.LIST" {
        let all: Vec<Value> =
            server.streams.values().map(|(s, consumers)| stream_info(s, consumers, &Value::Null, now)).collect();
        return Ok(page("streams", all, body));
    }
    if let Some(name) = verb.strip_prefix("CONSUMER.LIST.") {
        let (stream, consumers) = held(server, name)?;
        let all = consumers.iter().map(|consumer| consumer_info(stream, consumer, now)).collect();
        return Ok(page("consumers", all, body));
    }
    if let Some((stream, consumer)) = verb.strip_prefix("CONSUMER.INFO.").and_then(|rest| rest.split_once('.')) {
        let (stream, consumers) = held(server, stream)?;
        let found = consumers.iter().find(|one| one.name == consumer);
        let found = found.ok_or_else(|| refusal(404, 10014, "consumer not found"))?;
        let mut info = consumer_info(stream, found, now);
        if server.weakness.blind.contains(&stream.config.name)
            && let Some(fields) = info.as_object_mut()
        {
            fields.insert("num_ack_pending".to_owned(), 0.into());
            fields.insert("num_pending".to_owned(), 0.into());
        }
        return Ok(info);
    }
    if let Some(rest) = verb.strip_prefix("CONSUMER.CREATE.") {
        let mut tokens = rest.splitn(3, '.');
        let (stream, name) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
        return create_consumer(server, stream, name, body, now);
    }
    Err(refusal(404, 10000, &format!("the model does not know {verb}")))
}

fn held<'a>(server: &'a Server, name: &str) -> Result<&'a (Stream, Vec<Consumer>), Refused> {
    server.streams.get(name).ok_or_else(|| refusal(404, 10059, "stream not found"))
}

fn create_stream(server: &mut Server, name: &str, body: &Value, now: Time) -> Result<Value, Refused> {
    let config: async_nats::jetstream::stream::Config = serde_json::from_value(body.clone())
        .map_err(|error| refusal(400, 10025, &format!("the model cannot read the settings: {error}")))?;
    if let Some((stream, consumers)) = server.streams.get(name) {
        if stream.config != config {
            return Err(refusal(400, 10058, "stream name already in use with a different configuration"));
        }
        return Ok(stream_info(stream, consumers, &Value::Null, now));
    }
    let stream = Stream::new(config, now.since);
    let info = stream_info(&stream, &[], &Value::Null, now);
    server.streams.insert(name.to_owned(), (stream, Vec::new()));
    server.changed(name).notify_waiters();
    Ok(info)
}

fn create_consumer(server: &mut Server, stream: &str, name: &str, body: &Value, now: Time) -> Result<Value, Refused> {
    #[derive(Deserialize)]
    struct Create {
        config: async_nats::jetstream::consumer::Config,
    }
    let Create { config } = serde_json::from_value(body.clone())
        .map_err(|error| refusal(400, 10025, &format!("the model cannot read the settings: {error}")))?;
    held(server, stream)?;
    if let Some(found) = server.consumer(stream, name) {
        if found.config != config {
            return Err(refusal(400, 10148, "consumer already exists"));
        }
    } else if let Some((_, consumers)) = server.streams.get_mut(stream) {
        consumers.push(Consumer::new(name, config, now.since));
    }
    call(server, &format!("CONSUMER.INFO.{stream}.{name}"), &Value::Null, now)
}

fn purge(server: &mut Server, name: &str, body: &Value, now: Time) -> Result<Value, Refused> {
    held(server, name)?;
    let filter = body.get("filter").and_then(Value::as_str).unwrap_or(">").to_owned();
    let Some((stream, consumers)) = server.streams.get_mut(name) else { return Ok(Value::Null) };
    let gone: Vec<u64> =
        stream.messages.iter().filter(|(_, stored)| matches(&filter, &stored.subject)).map(|(s, _)| *s).collect();
    for sequence in &gone {
        stream.remove(*sequence);
        consumers.iter_mut().for_each(|consumer| consumer.drop_out(*sequence));
    }
    server.stir(name, now);
    Ok(json!({ "success": true, "purged": gone.len() }))
}

fn get_message(server: &Server, name: &str, body: &Value, now: Time) -> Result<Value, Refused> {
    let (stream, _) = held(server, name)?;
    let sequence = match (body.get("seq").and_then(Value::as_u64), body.get("last_by_subj").and_then(Value::as_str)) {
        (Some(sequence), _) => Some(sequence),
        (None, Some(filter)) => stream.last_per_subject(filter).last().copied(),
        (None, None) => None,
    };
    let found = sequence.and_then(|sequence| stream.messages.get(&sequence).map(|stored| (sequence, stored)));
    let Some((sequence, stored)) = found else { return Err(refusal(404, 10037, "no message found")) };
    let mut message = json!({
        "subject": stored.subject,
        "seq": sequence,
        "time": date(now.at(stored.at)),
        "data": STANDARD.encode(&stored.payload),
    });
    if let (Some(headers), Some(fields)) = (written_headers(stored), message.as_object_mut()) {
        fields.insert("hdrs".to_owned(), STANDARD.encode(headers).into());
    }
    Ok(json!({ "message": message }))
}

fn written_headers(stored: &Stored) -> Option<String> {
    let headers = stored.headers.as_ref()?;
    let lines: BTreeMap<String, String> = headers
        .iter()
        .filter_map(|(name, values)| values.first().map(|value| (name.to_string(), value.to_string())))
        .collect();
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Some(format!("NATS/1.0\r\n{lines}\r\n"))
}

fn date(at: Time) -> String {
    at.date().format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn page(name: &str, all: Vec<Value>, body: &Value) -> Value {
    let offset = body.get("offset").and_then(Value::as_u64).unwrap_or(0);
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).collect();
    json!({ "total": total, "offset": offset, "limit": 256, name: items })
}

fn stream_info(stream: &Stream, consumers: &[Consumer], body: &Value, now: Time) -> Value {
    let first = stream.messages.first_key_value();
    let last = stream.messages.last_key_value();
    let mut state = json!({
        "messages": stream.messages.len(),
        "bytes": stream.messages.values().map(|stored| stored.payload.len()).sum::<usize>(),
        "first_seq": first.map_or(stream.last + 1, |(sequence, _)| *sequence),
        "first_ts": date(now.at(first.map_or(stream.created, |(_, stored)| stored.at))),
        "last_seq": stream.last,
        "last_ts": date(now.at(last.map_or(stream.created, |(_, stored)| stored.at))),
        "consumer_count": consumers.len(),
        "num_subjects": stream.by_subject.len(),
    });
    let filter = body.get("subjects_filter").and_then(Value::as_str);
    let offset = body.get("offset").and_then(Value::as_u64).unwrap_or(0);
    let matching = |(subject, _): &(&String, &BTreeSet<u64>)| filter.is_some_and(|filter| matches(filter, subject));
    let total = stream.by_subject.iter().filter(matching).count();
    if let (Some(_), Some(fields)) = (filter, state.as_object_mut()) {
        let listed: serde_json::Map<String, Value> = stream
            .by_subject
            .iter()
            .filter(matching)
            .skip(usize::try_from(offset).unwrap_or(usize::MAX))
            .map(|(subject, all)| (subject.clone(), all.len().into()))
            .collect();
        fields.insert("subjects".to_owned(), listed.into());
    }
    json!({
        "config": stream.config,
        "created": date(now.at(stream.created)),
        "state": state,
        "cluster": null,
        "offset": offset,
        "total": total,
        "limit": 100_000,
    })
}

fn consumer_info(stream: &Stream, consumer: &Consumer, now: Time) -> Value {
    let (delivered, last) = consumer.delivered();
    let (floor, floor_sequence) = consumer.floor();
    json!({
        "stream_name": stream.config.name,
        "name": consumer.name,
        "created": date(now.at(consumer.created)),
        "config": consumer.config,
        "delivered": { "consumer_seq": delivered, "stream_seq": last },
        "ack_floor": { "consumer_seq": floor, "stream_seq": floor_sequence },
        "num_ack_pending": consumer.out(),
        "num_redelivered": consumer.redelivered(),
        "num_waiting": consumer.waiting(),
        "num_pending": consumer.pending(stream),
    })
}
