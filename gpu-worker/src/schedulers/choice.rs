//! What `options.scheduler` can be: the classes by their names in `diffusers`, and the usual short names.

use serde_json::{Map, Value, json};

use super::{CLASSES, Class, Family, SchedulerError};

/// A short name: a class with fields of its config that make it what the name says.
struct Choice {
    name: &'static str,
    class: &'static str,
    fields: &'static [(&'static str, Setting)],
}

#[derive(Clone, Copy)]
enum Setting {
    Flag(bool),
    Name(&'static str),
}

const KARRAS: (&str, Setting) = ("use_karras_sigmas", Setting::Flag(true));
const EVEN: (&str, Setting) = ("use_karras_sigmas", Setting::Flag(false));
const ODE: (&str, Setting) = ("algorithm_type", Setting::Name("dpmsolver++"));
const SDE: (&str, Setting) = ("algorithm_type", Setting::Name("sde-dpmsolver++"));

const CHOICES: &[Choice] = &[
    Choice { name: "ddim", class: "DDIMScheduler", fields: &[] },
    Choice { name: "ddpm", class: "DDPMScheduler", fields: &[] },
    Choice { name: "pndm", class: "PNDMScheduler", fields: &[] },
    Choice { name: "lms", class: "LMSDiscreteScheduler", fields: &[] },
    Choice { name: "euler", class: "EulerDiscreteScheduler", fields: &[] },
    Choice { name: "euler_a", class: "EulerAncestralDiscreteScheduler", fields: &[] },
    Choice { name: "heun", class: "HeunDiscreteScheduler", fields: &[] },
    Choice { name: "dpm++_2m", class: "DPMSolverMultistepScheduler", fields: &[ODE, EVEN] },
    Choice {
        name: "dpm++_2m_karras",
        class: "DPMSolverMultistepScheduler",
        fields: &[ODE, KARRAS],
    },
    Choice { name: "dpm++_2m_sde", class: "DPMSolverMultistepScheduler", fields: &[SDE, EVEN] },
    Choice {
        name: "dpm++_2m_sde_karras",
        class: "DPMSolverMultistepScheduler",
        fields: &[SDE, KARRAS],
    },
    Choice { name: "unipc", class: "UniPCMultistepScheduler", fields: &[] },
    Choice { name: "lcm", class: "LCMScheduler", fields: &[] },
    Choice { name: "flow_match_euler", class: "FlowMatchEulerDiscreteScheduler", fields: &[] },
];

/// Everything that can take the place of a class: classes first, then short names.
pub(super) fn names(of: &Class) -> Vec<&'static str> {
    let classes = CLASSES.iter().filter(|class| can_replace(of, class)).map(|class| class.name);
    let short = CHOICES
        .iter()
        .filter(|choice| find_class(choice.class).is_some_and(|class| can_replace(of, class)));
    classes.chain(short.map(|choice| choice.name)).collect()
}

/// The class of that name, and the config with what the name says.
pub(super) fn choose(
    name: &str,
    of: &'static Class,
    fields: &Map<String, Value>,
) -> Result<(&'static Class, Map<String, Value>), SchedulerError> {
    let choice = CHOICES.iter().find(|choice| choice.name == name);
    let class = find_class(choice.map_or(name, |choice| choice.class));
    let Some(class) = class.filter(|class| can_replace(of, class)) else {
        let (choice, choices) = (name.to_owned(), names(of));
        return Err(SchedulerError::NotCompatible { choice, class: of.name, choices });
    };
    let mut fields = fields.clone();
    fields.insert("_class_name".to_owned(), json!(class.name));
    for (field, setting) in choice.map_or(&[][..], |choice| choice.fields) {
        let value = match setting {
            Setting::Flag(flag) => json!(flag),
            Setting::Name(name) => json!(name),
        };
        fields.insert((*field).to_owned(), value);
    }
    Ok((class, fields))
}

pub(super) fn find_class(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.name == name)
}

/// As in the reference; but for a model of betas also the distilled class, whose models come as adapters of such ones.
fn can_replace(of: &Class, other: &Class) -> bool {
    match of.family {
        Family::Diffusion => matches!(other.family, Family::Diffusion | Family::Distilled),
        Family::Distilled | Family::Flow => other.name == of.name,
    }
}
