//! Server-sent events as they arrive.

use serde_json::Value;

use super::within;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// A stream of events; dropping it closes the connection.
pub struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Events {
    pub fn new(response: reqwest::Response) -> Self {
        let headers = response.headers();
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["x-accel-buffering"], "no");
        Self { response, buffer: Vec::new() }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match parse(std::str::from_utf8(&block).expect("whole characters")) {
                    Some(event) => return Some(event),
                    // A comment that keeps the stream open.
                    None => continue,
                }
            }
            let chunk = within("the next event", self.response.chunk()).await;
            match chunk.expect("the stream is whole") {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return None,
            }
        }
    }

    /// Every event to the end.
    pub async fn all(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The next event of that name; others in front of it are passed over.
    pub async fn until(&mut self, name: &str) -> Event {
        self.find(name, |_| true).await
    }

    /// The next event of that name whose data is as wanted.
    pub async fn find(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Event {
        let found = async {
            let mut passed = Vec::new();
            while let Some(event) = self.next().await {
                if event.name == name && wanted(&event.data) {
                    return event;
                }
                passed.push(event);
                passed.drain(..passed.len().saturating_sub(5));
            }
            panic!("the stream ended without the wanted {name}; at last {passed:?}");
        };
        within(&format!("the wanted {name}"), found).await
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let values: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let data: Value = serde_json::from_str(&field("data")?).expect("data is JSON");
    let name = field("event").expect("every event has a name");
    assert_eq!(data["type"], name.as_str(), "type differs from the event's name");
    Some(Event { name, id: field("id").unwrap_or_default(), data })
}

/// What must hold for the events of every prediction that worked; returns `done`.
#[track_caller]
pub fn check_whole(events: &[Event]) -> Value {
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert!(ids.iter().zip(1..).all(|(id, n)| *id == n.to_string()), "{ids:?}");
    let told: Vec<&str> = events
        .iter()
        .map(|event| event.name.as_str())
        .skip_while(|name| matches!(*name, "queued" | "loading"))
        .collect();
    assert_eq!(told.first(), Some(&"start"), "{told:?}");
    assert_eq!(told.iter().filter(|name| **name == "start").count(), 1, "{told:?}");
    let ends = |name: &&&str| matches!(**name, "done" | "error");
    assert_eq!(told.iter().filter(ends).count(), 1, "{told:?}");
    let last = events.last().expect("a start is there");
    assert_eq!(last.name, "done", "{last:?}");
    last.data.clone()
}

/// The texts of the tokens of one choice, put together.
pub fn joined(events: &[Event], choice: u64) -> String {
    let tokens = events.iter().filter(|event| event.name == "token");
    tokens
        .filter(|event| event.data["choice"] == choice)
        .map(|event| event.data["text"].as_str().expect("a text"))
        .collect()
}
