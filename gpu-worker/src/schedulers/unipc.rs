//! UniPC: a multistep predictor whose steps are corrected when the next output is known (Zhao et al., 2023,
//! <https://arxiv.org/abs/2302.04867>).
//!
//! Reference: `diffusers/schedulers/scheduling_unipc_multistep.py`.

use std::collections::VecDeque;

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start, Steps,
    curve::Curve,
    limits::Limits,
    multistep::MultistepSchedule,
    numpy,
    path::Path,
    prediction::{EPSILON, FLOW, Prediction, SAMPLE, VELOCITY},
    shift::{self, Shift, shifted, stretch_to},
    sigmas::Final,
    unipc_updates::{Growth, History, Update},
};

pub(super) const UNIPC: Class =
    Class { name: "UniPCMultistepScheduler", family: Family::Diffusion, load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| {
        let (path, solver) = (config.path(request)?, config.solver.clone());
        Ok(Box::new(UniPc { path, solver, outputs: VecDeque::new(), last: None }))
    }))
}

struct Config {
    schedule: MultistepSchedule,
    prediction: Prediction,
    shift: Shift,
    terminal: Option<f64>,
    solver: Solver,
}

#[derive(Clone)]
struct Solver {
    order: usize,
    growth: Growth,
    /// Whether outputs are turned into pictures; into noise otherwise.
    predicts_x0: bool,
    limits: Limits,
    ends_in_lower_order: bool,
    /// Steps that are not corrected.
    uncorrected: Vec<usize>,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let schedule = MultistepSchedule::read(fields)?;
        // Another scheduler in the predictor's place.
        fields.refuse("solver_p")?;
        let solver = Solver::read(fields)?;
        if !solver.ends_in_lower_order && schedule.last == Final::Zero && solver.order > 1 {
            let value = "false with final_sigmas_type \"zero\"".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "lower_order_final", value });
        }
        let is_karras = schedule.curved.is_none_or(|curved| curved.curve == Curve::Karras);
        if schedule.is_flow && !is_karras {
            let value = "true beside this curve".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "use_flow_sigmas", value });
        }
        let terminal = shift::terminal(fields)?;
        if terminal.is_some() && !schedule.is_flow {
            let value = "set without use_flow_sigmas".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "shift_terminal", value });
        }
        let known: &[_] = match solver.predicts_x0 {
            true if schedule.is_flow => &[EPSILON, SAMPLE, VELOCITY, FLOW],
            _ => &[EPSILON, SAMPLE, VELOCITY],
        };
        Ok(Self {
            prediction: Prediction::read(fields, known)?,
            shift: Shift::read(fields, "flow_shift")?,
            terminal,
            schedule,
            solver,
        })
    }

    fn path(&self, request: &Request) -> Result<Path, SchedulerError> {
        let schedule = &self.schedule;
        let n_train = schedule.table.n_train_timesteps();
        let (timesteps, sigmas) = match (schedule.curved, &request.steps) {
            (_, Steps::Timesteps(_)) => {
                return Err(SchedulerError::OwnSchedule { given: "timesteps" });
            }
            (Some(curved), steps) => {
                let (mut timesteps, mut sigmas) = schedule.along(curved, steps.count(n_train)?);
                if schedule.is_flow {
                    sigmas.iter_mut().for_each(|sigma| *sigma /= *sigma + 1.0);
                    timesteps = sigmas.iter().map(|sigma| sigma * n_train as f64).collect();
                } else if curved.curve == Curve::Karras {
                    timesteps
                        .iter_mut()
                        .for_each(|timestep| *timestep = timestep.round_ties_even());
                }
                (timesteps, sigmas)
            }
            (None, steps) if schedule.is_flow => {
                let sigmas = self.flow(steps, request.mu)?;
                (sigmas.iter().map(|sigma| sigma * n_train as f64).collect(), sigmas)
            }
            (None, steps) => schedule.evenly(steps, n_train)?,
        };
        let last = match schedule.last {
            Final::Zero => 0.0,
            Final::SigmaMin if schedule.curved.is_some() || schedule.is_flow => {
                sigmas.last().map_or(0.0, |&sigma| sigma as f32)
            }
            Final::SigmaMin => schedule.table.lowest(),
        };
        schedule.path(&timesteps, &sigmas, last, self.prediction)
    }

    fn flow(&self, steps: &Steps, mu: Option<f64>) -> Result<Vec<f64>, SchedulerError> {
        let n_train = self.schedule.table.n_train_timesteps();
        let mut sigmas = match steps {
            Steps::Sigmas(own) => shift::own_sigmas(own, n_train)?,
            steps => {
                let n = steps.count(n_train)?;
                let mut sigmas = numpy::linspace(1.0, 1.0 / n_train as f64, n + 1);
                sigmas.truncate(n);
                sigmas
            }
        };
        let factor = self.shift.factor(mu)?;
        sigmas.iter_mut().for_each(|sigma| *sigma = shifted(*sigma, factor));
        if let Some(terminal) = self.terminal {
            stretch_to(terminal, &mut sigmas);
        }
        // A picture of which nothing is left would be divided by.
        if (sigmas[0] - 1.0).abs() < 1e-6 {
            sigmas[0] -= 1e-6;
        }
        Ok(sigmas)
    }
}

impl Solver {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let growths = [
            ("bh1", Growth::Linear),
            ("bh2", Growth::Exponential),
            // Of other classes' configs.
            ("midpoint", Growth::Exponential),
            ("heun", Growth::Exponential),
            ("logrho", Growth::Exponential),
        ];
        Ok(Self {
            order: fields.whole("solver_order", 2, 1..=3)?,
            growth: fields.choose("solver_type", Growth::Exponential, &growths)?,
            predicts_x0: fields.flag("predict_x0", true)?,
            limits: Limits::thresholding(fields)?,
            ends_in_lower_order: fields.flag("lower_order_final", true)?,
            uncorrected: fields.indices("disable_corrector")?,
        })
    }

    fn order_at(&self, index: usize, n_timesteps: usize, n_made: usize) -> usize {
        let left = if self.ends_in_lower_order { n_timesteps - index } else { self.order };
        self.order.min(left).min(n_made + 1)
    }
}

struct UniPc {
    path: Path,
    solver: Solver,
    /// What the steps before implied, picture or noise; the newest first.
    outputs: VecDeque<Tensor>,
    /// The step before: where it began, and its order.
    last: Option<(Tensor, usize)>,
}

impl UniPc {
    fn converted(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        if self.solver.predicts_x0 {
            return self.solver.limits.apply(self.denoised(output, index, sample));
        }
        self.path.prediction.noise(output, sample, self.path.share(index))
    }

    /// The step that ends at `to`, of that order. The newest output is the one where it began.
    fn update(&self, to: usize, order: usize) -> Update<'_> {
        Update {
            predicts_x0: self.solver.predicts_x0,
            growth: self.solver.growth,
            to: self.path.share(to),
            history: self
                .outputs
                .iter()
                .take(order)
                .enumerate()
                .map(|(back, output)| History { output, share: self.path.share(to - 1 - back) })
                .collect(),
        }
    }
}

impl Scheduler for UniPc {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let converted = self.converted(output, index, sample);
        let corrected = match self.last.take() {
            Some((began_at, order)) if !self.solver.uncorrected.contains(&(index - 1)) => {
                self.update(index, order).correct(&began_at, &converted)
            }
            _ => sample.shallow_clone(),
        };
        let n_timesteps = self.path.timesteps.len();
        let order = self.solver.order_at(index, n_timesteps, self.outputs.len());
        self.outputs.push_front(converted);
        self.outputs.truncate(self.solver.order);
        let next = self.update(index + 1, order).predict(&corrected);
        self.last = Some((corrected, order));
        next
    }
}
