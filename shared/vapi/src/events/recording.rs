//! Recordings that a message names, and the links to fetch them by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr};

use super::ArtifactUpload;
use crate::link;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// What was recorded. The tracks of one party alone are left out: both are in the stereo recording, a channel each.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str, parse_err_ty = UnknownRecordingKind, parse_err_fn = unknown_kind)]
pub enum RecordingKind {
    /// Both parties in one channel.
    Mono,
    /// A channel for each party.
    Stereo,
    /// The picture of a web call.
    Video,
}

/// A text is not the name of a kind of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording is mono, stereo or video")]
pub struct UnknownRecordingKind;

impl RecordingKind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The last part of Vapi's endpoint for it: `GET /call/{id}/mono-recording`.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::Mono => "mono-recording",
            Self::Stereo => "stereo-recording",
            Self::Video => "video-recording",
        }
    }

    /// Where `Artifact` has a link that works for half an hour.
    const fn presigned(self) -> &'static str {
        match self {
            Self::Mono => "artifact.presignedMonoUrl",
            Self::Stereo => "artifact.presignedStereoUrl",
            Self::Video => "artifact.presignedVideoUrl",
        }
    }

    /// Its name in `call.artifact.upload`.
    const fn artifact(self) -> &'static str {
        match self {
            Self::Mono => "recording-mono",
            Self::Stereo => "recording-stereo",
            Self::Video => "recording-video",
        }
    }
}

fn unknown_kind(_: &str) -> UnknownRecordingKind {
    UnknownRecordingKind
}

/// A link that works for a while, and for whoever has it: a secret, and no part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingLink {
    /// What it leads to.
    pub kind: RecordingKind,
    /// The link.
    pub url: Sensitive<String>,
    /// `Artifact.presignedUrlsExpiresAt`.
    pub expires_at: Option<Timestamp>,
}

impl RecordingLink {
    /// The links of a report. They are made anew for each delivery.
    pub(super) fn read_all(message: &Object<'_>) -> Vec<Self> {
        let artifact = message.object("artifact");
        let expires_at = artifact.time("artifact.presignedUrlsExpiresAt");
        let link = |kind: RecordingKind| {
            let url = artifact.converted(kind.presigned(), link::usable)?;
            Some(Self { kind, url: url.into(), expires_at })
        };
        RecordingKind::iter().filter_map(link).collect()
    }
}

/// The kinds that a report says there are: by a link, or by a stable identifier.
pub(super) fn kinds_of_report(message: &Object<'_>, mono: bool, stereo: bool) -> Vec<RecordingKind> {
    let artifact = message.object("artifact");
    let video = artifact.text("artifact.videoRecordingUrl").is_some()
        || artifact.object("artifact.recording").text("artifact.recording.videoUrl").is_some();
    let is_named = |kind: &RecordingKind| match kind {
        RecordingKind::Mono => mono,
        RecordingKind::Stereo => stereo,
        RecordingKind::Video => video,
    };
    let is_linked = |kind: &RecordingKind| artifact.text(kind.presigned()).is_some();
    RecordingKind::iter().filter(|kind| is_named(kind) || is_linked(kind)).collect()
}

/// The kinds that were put into the customer's own storage.
pub(super) fn kinds_of_uploads(artifacts: &[ArtifactUpload]) -> Vec<RecordingKind> {
    let is_there = |kind: &RecordingKind| {
        artifacts
            .iter()
            .any(|upload| upload.success == Some(true) && upload.artifact_type.as_deref() == Some(kind.artifact()))
    };
    RecordingKind::iter().filter(is_there).collect()
}
