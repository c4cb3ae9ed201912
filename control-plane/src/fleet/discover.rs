//! Workers by a DNS name: every address behind it is one, and they come and go as it says.
//!
//! A name that cannot be resolved changes nothing: workers that are known are judged by their own links.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Address, Fleet, Worker, WorkerToken};

/// `NAME:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    pub host: String,
    pub port: u16,
}

impl FromStr for DnsName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no name such as workers.default.svc:50051");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(expected)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(expected());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Asks the system's resolver.
///
/// # Errors
/// When it doesn't answer or knows no such name.
pub async fn lookup(name: DnsName) -> io::Result<BTreeSet<SocketAddr>> {
    Ok(tokio::net::lookup_host((name.host, name.port)).await?.collect())
}

/// Follows what `resolve` says for as long as the fleet lives.
pub async fn follow<F>(
    fleet: Weak<Fleet>,
    token: Option<WorkerToken>,
    every: Duration,
    resolve: impl Fn() -> F + Send,
) where
    F: Future<Output = io::Result<BTreeSet<SocketAddr>>> + Send,
{
    let mut known = BTreeSet::new();
    let mut was_resolved = true;
    loop {
        let found = resolve().await;
        let Some(fleet) = fleet.upgrade() else { return };
        match found {
            Ok(found) => {
                apply(&fleet, token.as_ref(), &known, &found);
                known = found;
                was_resolved = true;
            }
            Err(error) => {
                // Said once, not at every try.
                if was_resolved {
                    tracing::warn!(%error, "the workers' name cannot be resolved; who is known stays");
                }
                was_resolved = false;
            }
        }
        let stop = fleet.stop.clone();
        drop(fleet);
        if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
            return;
        }
    }
}

fn apply(
    fleet: &Arc<Fleet>,
    token: Option<&WorkerToken>,
    known: &BTreeSet<SocketAddr>,
    found: &BTreeSet<SocketAddr>,
) {
    let url = |address: &SocketAddr| format!("http://{address}");
    let here = |url: &str| -> Option<Arc<Worker>> {
        fleet.workers().into_iter().find(|worker| worker.name() == url)
    };
    for gone in known.difference(found).map(url) {
        if let Some(worker) = here(&gone) {
            tracing::info!(worker = gone, "worker left the name");
            fleet.retire(&worker);
        }
    }
    for new in found.iter().map(url) {
        // It may be there still after it left a moment ago with work to do.
        if let Some(worker) = here(&new) {
            worker.set_retired(false);
            continue;
        }
        tracing::info!(worker = new, "worker found by name");
        let address =
            Address { name: new.clone(), url: new, token: token.cloned(), supervision: None };
        if let Err(error) = fleet.add(&address) {
            tracing::error!(%error, worker = address.url, "no address of a worker");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;
    use crate::fleet::Settings;

    fn names(fleet: &Fleet) -> Vec<String> {
        let mut names: Vec<String> =
            fleet.workers().iter().map(|worker| worker.name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_name_has_a_port() {
        let name: DnsName = "workers.default.svc:50051".parse().unwrap();
        assert_eq!((name.host.as_str(), name.port), ("workers.default.svc", 50051));
        for wrong in ["workers", "workers:", ":50051", "workers:0", "workers:70000", "http://a:1"] {
            assert!(wrong.parse::<DnsName>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn workers_come_and_go_with_the_name_and_a_failing_resolver_changes_nothing() {
        let fleet = Fleet::connect(&[], Settings::default()).unwrap();
        let answers: Arc<Mutex<Option<Vec<u16>>>> = Arc::new(Mutex::new(Some(vec![1, 2])));
        let asked = Arc::new(Notify::new());
        let resolve = {
            let (answers, asked) = (answers.clone(), asked.clone());
            move || {
                let answer = answers.lock().unwrap().clone();
                asked.notify_one();
                async move {
                    let ports = answer.ok_or_else(|| io::Error::other("no such name"))?;
                    Ok(ports.into_iter().map(|p| SocketAddr::from(([127, 0, 0, 1], p))).collect())
                }
            }
        };
        let every = Duration::from_millis(5);
        let following = tokio::spawn(follow(Arc::downgrade(&fleet), None, every, resolve));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        for (answer, expected) in [
            (Some(vec![1, 2]), vec![url(1), url(2)]),
            (Some(vec![2, 3]), vec![url(2), url(3)]),
            (None, vec![url(2), url(3)]),
            (Some(vec![]), vec![]),
            (Some(vec![1]), vec![url(1)]),
        ] {
            *answers.lock().unwrap() = answer;
            let becomes = async {
                // Two questions later an answer has surely been acted upon.
                asked.notified().await;
                asked.notified().await;
                while names(&fleet) != expected {
                    asked.notified().await;
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(10), becomes).await;
            assert!(in_time.is_ok(), "{:?} instead of {expected:?}", names(&fleet));
        }
        fleet.stop();
        tokio::time::timeout(Duration::from_secs(5), following).await.unwrap().unwrap();
    }
}
