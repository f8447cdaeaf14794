//! The rehearsal of a plugin that is to take another's place: what is asked for, what comes of it, and why a plugin is not taken.

use cobuf_plugin_api::PluginKind;

use super::Supervisor;
use super::swap::{Stage, Swapping};
use super::swap_error::{SwapError, differences, late};
use crate::plugin::PluginError;
use crate::protocol::message::{Request, SetupFailure};
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;

impl Supervisor {
    pub(super) fn rehearse(&mut self) {
        let Some(Swapping { wish, .. }) = &self.swapping else { return };
        self.rehearsals += 1;
        let role = Role::Rehearsal { kind: wish.kind, number: self.rehearsals };
        self.plan.plugins.candidate = Some(wish.plugin.clone());
        self.exchange();
        let beginning = self.stream.history.beginning_at(self.stream.table().commanded());
        self.ask(&Request::Start(role, Some(beginning)));
        let limit = self.care.start_timeout;
        self.enter(Stage::Rehearsing { role, limit, passed: false, failure: None, death: None });
    }

    /// The rehearsal that is going on, where it is this one.
    fn rehearsal(&mut self, of: Role) -> Option<&mut Stage> {
        let stage = &mut self.swapping.as_mut()?.stage;
        matches!(stage, Stage::Rehearsing { role, .. } if *role == of).then_some(stage)
    }

    /// The plugin is constructed, and goes on to a message.
    pub(super) fn rehearsal_goes_on(&mut self, role: Role) {
        let limit = match role.kind() {
            PluginKind::Commander => self.care.commander_timeout,
            PluginKind::Producer => self.care.message_timeout,
        };
        if let (Some(Stage::Rehearsing { limit: until, .. }), Some(limit)) = (self.rehearsal(role), limit) {
            *until = limit;
            self.set_deadline(limit);
        }
    }

    pub(super) fn rehearsal_passed(&mut self, role: Role) {
        if let Some(Stage::Rehearsing { passed, .. }) = self.rehearsal(role) {
            *passed = true;
        }
    }

    pub(super) fn rehearsal_failed(&mut self, role: Role, said: SetupFailure) {
        if let Some(Stage::Rehearsing { failure, .. }) = self.rehearsal(role) {
            *failure = Some(said);
        }
    }

    pub(super) fn rehearsal_crashed(&mut self, role: Role, how: Death) {
        if let Some(Stage::Rehearsing { death, .. }) = self.rehearsal(role) {
            death.get_or_insert(how);
        }
    }

    pub(super) fn rehearsal_ended(&mut self, role: Role, how: Death) {
        let Some(Stage::Rehearsing { passed, failure, death, .. }) = self.rehearsal(role) else { return };
        let (passed, failure, death) = (*passed, failure.take(), death.take());
        self.enter(Stage::Waiting);
        if failure.is_some() || !passed || death.is_some() || how != Death::Exit(Exit::Code(0)) {
            let error = self.newcomer_error(failure, death.unwrap_or(how));
            return self.abandon_swap(error);
        }
        self.plan.plugins.candidate = None;
        match role.kind() {
            PluginKind::Producer => self.bring_in(),
            PluginKind::Commander => {
                self.enter(Stage::Relieving);
                self.relieve(true);
            }
        }
    }

    /// Why the new plugin is not taken.
    pub(super) fn newcomer_error(&self, failure: Option<SetupFailure>, death: Death) -> SwapError {
        let Some(Swapping { wish, .. }) = &self.swapping else { return SwapError::Ended };
        let (kind, plugin, path) = (wish.kind, wish.plugin.name.clone(), wish.plugin.origin.clone());
        match (failure, death) {
            (Some(SetupFailure::Load(reason)), _) => PluginError::Load { path, reason }.into(),
            (Some(SetupFailure::Plugin(source)), _) => PluginError::Setup { kind, plugin, source }.into(),
            (Some(SetupFailure::Schema(declared)), _) => {
                let expected = &self.stream.segment.layout().sizes.schema;
                SwapError::Schema { plugin, differences: differences(&declared, expected) }
            }
            (Some(SetupFailure::Message { sequence, report: source }), _) => {
                SwapError::Rehearsal { kind, plugin, sequence, source }
            }
            (Some(failure @ SetupFailure::Init(_)), _) => {
                SwapError::Process { role: format!("{kind} {plugin}"), reason: failure.into_text() }
            }
            (None, Death::Timeout { limit }) => late(&format!("the {kind} {plugin}"), limit),
            (None, death) => PluginError::Died { kind, plugin, how: death.to_string() }.into(),
        }
    }
}
