//! DPM-Solver and DPM-Solver++, multistep, as differential equation or with noise (Lu et al., 2022,
//! <https://arxiv.org/abs/2206.00927>, <https://arxiv.org/abs/2211.01095>).
//!
//! Reference: `diffusers/schedulers/scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use tch::{Kind, Tensor};

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start, Steps,
    betas::{BetaSchedule, Betas},
    curve::{Curve, Curved},
    dpm_updates::{Algorithm, History, SecondOrder, Update},
    limits::Limits,
    multistep::MultistepSchedule,
    numpy,
    path::{Path, Share},
    prediction::{EPSILON, FLOW, Prediction, SAMPLE, VELOCITY},
    shift::{Shift, shifted},
    sigmas::Final,
};

pub(super) const DPM_MULTISTEP: Class =
    Class { name: "DPMSolverMultistepScheduler", family: Family::Diffusion, load };

/// With fewer steps than these the last ones are of lower order.
const MANY_STEPS: usize = 15;

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| {
        let path = config.path(request)?;
        Ok(Box::new(DpmMultistep { path, solver: config.solver, outputs: VecDeque::new() }))
    }))
}

struct Config {
    schedule: MultistepSchedule,
    solver: Solver,
    prediction: Prediction,
    shift: Shift,
    has_lu_lambdas: bool,
    /// Timesteps below this one are visited.
    highest: usize,
}

#[derive(Clone, Copy)]
struct Solver {
    algorithm: Algorithm,
    second_order: SecondOrder,
    order: usize,
    limits: Limits,
    ends_in_lower_order: bool,
    ends_in_euler: bool,
    last: Final,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let schedule = MultistepSchedule::read(fields)?;
        let solver = Solver::read(fields, schedule.last)?;
        // Model outputs that tell their own variance; the other classes' values of the field mean nothing here.
        fields.refuse_values("variance_type", &["learned", "learned_range"])?;
        let has_lu_lambdas = fields.flag("use_lu_lambdas", false)?;
        for (field, is_set) in
            [("use_flow_sigmas", schedule.is_flow), ("use_lu_lambdas", has_lu_lambdas)]
        {
            if is_set && schedule.curved.is_some() {
                let value = "true beside another curve".to_owned();
                return Err(SchedulerError::UnsupportedValue { field, value });
            }
        }
        let known: &[_] = match solver.algorithm.is_plus_plus() {
            true if schedule.is_flow => &[EPSILON, SAMPLE, VELOCITY, FLOW],
            _ => &[EPSILON, SAMPLE, VELOCITY],
        };
        let alphas = Betas::WITH_SIGMAS.alphas_cumprod(fields)?;
        let clipped = fields.number("lambda_min_clipped", f64::NEG_INFINITY)?;
        let n_clipped = alphas
            .iter()
            .filter(|&&alpha| f64::from(Share::of_alpha(alpha).lambda()) < clipped)
            .count();
        if n_clipped + 1 >= alphas.len() {
            let (field, value) = ("lambda_min_clipped", clipped.to_string());
            return Err(SchedulerError::UnsupportedValue { field, value });
        }
        Ok(Self {
            prediction: Prediction::read(fields, known)?,
            shift: Shift::read(fields, "flow_shift")?,
            highest: alphas.len() - n_clipped,
            has_lu_lambdas,
            schedule,
            solver,
        })
    }

    fn path(&self, request: &Request) -> Result<Path, SchedulerError> {
        let schedule = &self.schedule;
        let chooses_itself = schedule.curved.is_some() || schedule.is_flow || self.has_lu_lambdas;
        let (timesteps, sigmas) = if chooses_itself {
            let n = request.steps.count(schedule.table.n_train_timesteps())?;
            match schedule.curved {
                Some(curved) => self.curved(curved, n),
                None if self.has_lu_lambdas => self.along_lu_lambdas(n),
                None => self.flow(n, self.shift.factor(request.mu)?),
            }
        } else if let Steps::Sigmas(_) = request.steps {
            return Err(SchedulerError::OwnSchedule { given: "sigmas" });
        } else {
            schedule.evenly(&request.steps, self.highest)?
        };
        let last = match schedule.last {
            Final::Zero => 0.0,
            Final::SigmaMin => schedule.table.lowest(),
        };
        schedule.path(&timesteps, &sigmas, last, self.prediction)
    }

    fn curved(&self, curved: Curved, n: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut timesteps, sigmas) = self.schedule.along(curved, n);
        if curved.curve == Curve::Karras {
            self.round(&mut timesteps);
        }
        (timesteps, sigmas)
    }

    /// Evenly by the logarithm of the level (Lu's choice in the paper on DPM-Solver).
    fn along_lu_lambdas(&self, n: usize) -> (Vec<f64>, Vec<f64>) {
        let table = &self.schedule.table;
        let logarithms = table.logarithms();
        let (lowest, highest) =
            (f64::from(logarithms[0]), f64::from(logarithms[logarithms.len() - 1]));
        let sigmas: Vec<f64> = numpy::linspace(0.0, 1.0, n)
            .into_iter()
            .map(|share| (highest + share * (lowest - highest)).exp())
            .collect();
        let mut timesteps: Vec<f64> =
            sigmas.iter().map(|&sigma| table.timestep_of(sigma)).collect();
        self.round(&mut timesteps);
        (timesteps, sigmas)
    }

    fn round(&self, timesteps: &mut [f64]) {
        if self.schedule.beta_schedule != BetaSchedule::Cosine {
            for timestep in timesteps {
                *timestep = timestep.round_ties_even();
            }
        }
    }

    fn flow(&self, n: usize, factor: f64) -> (Vec<f64>, Vec<f64>) {
        let n_train = self.schedule.table.n_train_timesteps() as f64;
        let alphas = numpy::linspace(1.0, 1.0 / n_train, n + 1);
        let sigmas: Vec<f64> =
            alphas[1..].iter().rev().map(|alpha| shifted(1.0 - alpha, factor)).collect();
        (sigmas.iter().map(|sigma| sigma * n_train).collect(), sigmas)
    }
}

impl Solver {
    fn read(fields: &Fields, last: Final) -> Result<Self, SchedulerError> {
        let algorithm = Algorithm::read(fields)?;
        if !algorithm.is_plus_plus() && last == Final::Zero {
            let value = "\"zero\" with this algorithm_type".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "final_sigmas_type", value });
        }
        // The reference has no third order for this one.
        let most = if algorithm == Algorithm::SdeDpmSolver { 2 } else { 3 };
        Ok(Self {
            algorithm,
            second_order: SecondOrder::read(fields)?,
            order: fields.whole("solver_order", 2, 1..=most)?,
            limits: Limits::thresholding(fields)?,
            ends_in_lower_order: fields.flag("lower_order_final", true)?,
            ends_in_euler: fields.flag("euler_at_final", false)?,
            last,
        })
    }

    /// Of a step with so many behind it in this request.
    fn order_at(&self, index: usize, n_timesteps: usize, n_made: usize) -> usize {
        let lowers = self.ends_in_lower_order && n_timesteps < MANY_STEPS;
        let highest = match n_timesteps - index {
            1 if self.ends_in_euler || lowers || self.last == Final::Zero => 1,
            2 if lowers => 2,
            _ => self.order,
        };
        self.order.min(highest).min(n_made + 1)
    }
}

struct DpmMultistep {
    path: Path,
    solver: Solver,
    /// What the steps before implied, picture or noise as the algorithm wants it; the newest first.
    outputs: VecDeque<Tensor>,
}

impl DpmMultistep {
    /// The picture that the output implies, or the noise.
    fn converted(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        let (share, prediction) = (self.path.share(index), self.path.prediction);
        if self.solver.algorithm.is_plus_plus() {
            return self.solver.limits.apply(self.denoised(output, index, sample));
        }
        let epsilon = prediction.noise(output, sample, share);
        if let Limits::Open = self.solver.limits {
            return epsilon;
        }
        let original = Prediction::Epsilon.original(&epsilon, sample, share);
        Prediction::Sample.noise(&self.solver.limits.apply(original), sample, share)
    }
}

impl Scheduler for DpmMultistep {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: &mut Noise,
    ) -> Tensor {
        let solver = self.solver;
        let n_made = self.outputs.len();
        let order = solver.order_at(index, self.path.timesteps.len(), n_made);
        let converted = self.converted(output, index, sample);
        let kind = converted.kind();
        self.outputs.push_front(converted);
        self.outputs.truncate(solver.order);
        let noise = solver.algorithm.is_stochastic().then(|| noise(&output.size(), Kind::Float));
        let shares = |idx: usize| self.path.share(idx);
        let update = Update {
            algorithm: solver.algorithm,
            second_order: solver.second_order,
            to: shares(index + 1),
            from: shares(index),
            sample: &sample.to_kind(Kind::Float),
            noise: noise.as_ref(),
        };
        let history: Vec<History> = self
            .outputs
            .iter()
            .take(order)
            .enumerate()
            .map(|(back, output)| History { output, share: shares(index - back) })
            .collect();
        update.apply(&history).to_kind(kind)
    }
}
