//! The traces: which models there are, and who asks for which when. Drawn from a seed, always the same.

/// A model of a trace.
#[derive(Clone, Debug)]
pub struct Model {
    pub id: String,
    pub bytes: u64,
    pub load_s: f64,
    /// Of one request; requests of a model run beside each other.
    pub service_s: f64,
    /// `None`: until evicted.
    pub keep_alive_s: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Trace {
    pub models: Vec<Model>,
    /// Seconds and model, in the order of time.
    pub requests: Vec<(f64, usize)>,
    /// Of each worker.
    pub budget: u64,
    pub workers: usize,
}

pub const NAMES: &[&str] = &[
    "Zipf",
    "Zipf, popularity drifts",
    "Zipf, two workers",
    "Bursts",
    "Two alternating heavy models",
    "One giant among many small",
];

const GB: u64 = 1_000_000_000;
const HOUR_S: f64 = 3600.0;

pub fn draw(name: &str, seed: u64) -> Trace {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66);
    match name {
        "Zipf" => zipf(&mut random, 1, f64::INFINITY),
        "Zipf, popularity drifts" => zipf(&mut random, 1, HOUR_S / 2.0),
        "Zipf, two workers" => zipf(&mut random, 2, f64::INFINITY),
        "Bursts" => bursts(&mut random),
        "Two alternating heavy models" => alternating(&mut random),
        "One giant among many small" => giant(&mut random),
        other => panic!("there is no trace {other}"),
    }
}

/// 30 models of 1 to 16 GB, asked for by Zipf's law for three hours.
fn zipf(random: &mut Random, workers: usize, drifts_every_s: f64) -> Trace {
    let models: Vec<Model> = (0..30).map(|place| any_model(random, place)).collect();
    let mut ranking: Vec<usize> = (0..models.len()).collect();
    let mut requests = Vec::new();
    let (mut now, mut drift) = (0.0, drifts_every_s);
    loop {
        now += random.gap(5.0 / workers as f64);
        if now > 3.0 * HOUR_S {
            return Trace { models, requests, budget: 48 * GB, workers };
        }
        if now > drift {
            drift += drifts_every_s;
            random.shuffle(&mut ranking);
        }
        requests.push((now, ranking[random.zipf(models.len())]));
    }
}

/// Each of 20 models has its bursts of some twenty requests in a minute, and minutes of silence between them.
fn bursts(random: &mut Random) -> Trace {
    let models: Vec<Model> = (0..20).map(|place| any_model(random, place)).collect();
    let mut requests = Vec::new();
    for model in 0..models.len() {
        let mut now = random.gap(600.0);
        while now < 3.0 * HOUR_S {
            let end = now + 60.0;
            while now < end {
                requests.push((now, model));
                now += random.gap(3.0);
            }
            now += random.gap(900.0);
        }
    }
    requests.sort_by(|a, b| a.0.total_cmp(&b.0));
    Trace { models, requests, budget: 48 * GB, workers: 1 }
}

/// Two models of 30 GB on 48 GB, both wanted all the time for an hour, and a small one beside them.
fn alternating(random: &mut Random) -> Trace {
    let heavy = |id: &str| Model {
        id: id.to_owned(),
        bytes: 30 * GB,
        load_s: 25.0,
        service_s: 1.5,
        keep_alive_s: Some(600.0),
    };
    let small = Model { bytes: 4 * GB, load_s: 4.0, ..heavy("small") };
    let models = vec![heavy("a"), heavy("b"), small];
    let mut requests = Vec::new();
    let mut now = 0.0;
    while now < HOUR_S {
        now += random.gap(6.0);
        let model = if random.below(10) == 0 { 2 } else { requests.len() % 2 };
        requests.push((now, model));
    }
    Trace { models, requests, budget: 48 * GB, workers: 1 }
}

/// Twelve models of 3 GB in steady use, and one of 40 GB that is wanted every few minutes.
fn giant(random: &mut Random) -> Trace {
    let mut models: Vec<Model> = (0..12)
        .map(|place| Model {
            bytes: 3 * GB,
            load_s: 2.0 + random.unit() * 4.0,
            ..any_model(random, place)
        })
        .collect();
    models.push(Model { bytes: 40 * GB, load_s: 40.0, service_s: 8.0, ..any_model(random, 12) });
    let mut requests = Vec::new();
    let (mut now, mut giant_at) = (0.0, 100.0);
    while now < 3.0 * HOUR_S {
        now += random.gap(4.0);
        requests.push((now, random.zipf(12)));
        if now > giant_at {
            requests.push((now, 12));
            giant_at = now + random.gap(300.0);
        }
    }
    Trace { models, requests, budget: 48 * GB, workers: 1 }
}

/// 1 to 16 GB, read at 0.3 to 1.5 GB/s: size and load time go together only roughly.
fn any_model(random: &mut Random, place: usize) -> Model {
    let gigabytes = 16_f64.powf(random.unit());
    let rate = 0.3 * 5_f64.powf(random.unit());
    let keep_alive_s = [Some(300.0), Some(600.0), Some(1800.0), None][random.below(4)];
    Model {
        id: format!("org/{place}"),
        bytes: (gigabytes * GB as f64) as u64,
        load_s: 0.5 + gigabytes / rate,
        service_s: 0.5 + 3.0 * random.unit(),
        keep_alive_s,
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From 0, below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Exponentially distributed.
    fn gap(&mut self, mean_s: f64) -> f64 {
        -mean_s * (1.0 - self.unit()).ln()
    }

    /// A rank from 0, the first the likeliest.
    fn zipf(&mut self, ranks: usize) -> usize {
        let weight = |rank: usize| 1.0 / (rank + 1) as f64;
        let mut left = self.unit() * (0..ranks).map(weight).sum::<f64>();
        for rank in 0..ranks {
            left -= weight(rank);
            if left < 0.0 {
                return rank;
            }
        }
        ranks - 1
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.below(place + 1));
        }
    }
}
