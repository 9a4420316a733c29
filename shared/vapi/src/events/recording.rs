//! Recordings that a message names, and the links to fetch them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr};

use super::ArtifactUpload;
use crate::link;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// A kind of recording. The recordings of a single party are left out, because the stereo recording has each party in
/// its own channel.
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
    /// One channel for each party.
    Stereo,
    /// The video of a web call.
    Video,
}

/// The text is not the name of a recording kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording is mono, stereo or video")]
pub struct UnknownRecordingKind;

impl RecordingKind {
    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The last segment of the path of Vapi's endpoint: `GET /call/{id}/mono-recording`.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::Mono => "mono-recording",
            Self::Stereo => "stereo-recording",
            Self::Video => "video-recording",
        }
    }

    /// The field of `Artifact` with the presigned link, which is valid for half an hour.
    const fn presigned(self) -> &'static str {
        match self {
            Self::Mono => "artifact.presignedMonoUrl",
            Self::Stereo => "artifact.presignedStereoUrl",
            Self::Video => "artifact.presignedVideoUrl",
        }
    }

    /// The kind's name in `call.artifact.upload`.
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

/// A temporary link that gives access to anyone who has it. It is a secret and not part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingLink {
    /// The kind of the recording.
    pub kind: RecordingKind,
    pub url: Sensitive<String>,
    /// `Artifact.presignedUrlsExpiresAt`.
    pub expires_at: Option<Timestamp>,
}

impl RecordingLink {
    /// The links of a report. Each delivery has new ones.
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

/// The kinds of recordings that a report names, by a link or by a stable identifier.
pub(super) fn kinds_of_report(message: &Object<'_>, mono: bool, stereo: bool) -> Vec<RecordingKind> {
    let artifact = message.object("artifact");
    let video = artifact.text("artifact.videoRecordingUrl").is_some()
        || artifact.object_or_text("artifact.recording").text("artifact.recording.videoUrl").is_some();
    let is_named = |kind: &RecordingKind| match kind {
        RecordingKind::Mono => mono,
        RecordingKind::Stereo => stereo,
        RecordingKind::Video => video,
    };
    let is_linked = |kind: &RecordingKind| artifact.text(kind.presigned()).is_some();
    RecordingKind::iter().filter(|kind| is_named(kind) || is_linked(kind)).collect()
}

/// The kinds of recordings that were uploaded to the customer's own storage.
pub(super) fn kinds_of_uploads(artifacts: &[ArtifactUpload]) -> Vec<RecordingKind> {
    let is_there = |kind: &RecordingKind| {
        artifacts
            .iter()
            .any(|upload| upload.success == Some(true) && upload.artifact_type.as_deref() == Some(kind.artifact()))
    };
    RecordingKind::iter().filter(is_there).collect()
}
