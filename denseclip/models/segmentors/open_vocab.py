"""Dense CLIP without labels: pixel embeddings against class names, whatever read-out makes the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.towers import ImageTower
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.lazy_weights import CLIPOwner
from denseclip.core.placement import pad_to, resize, size_of, whole_multiples
from denseclip.core.unrelated_text import UnrelatedText
from denseclip.core.words import TakesWords
from denseclip.models.builder import build_module
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.open_clip_parts import OpenCLIPParts, read_out_of
from denseclip.models.pixel_head import PixelTexts

from .model_settings import model_settings
from .no_text import NoText
from .patch_labels import LabelsPatches
from .post_processing import PostProcessing
from .prompt_removal import PromptRemoval
from .spreading import LabelPropagation
from .word_scoring import Comparison


@MODELS.register_module()
class OpenVocabularySegmentor(LabelsPatches, TakesWords, CLIPOwner, BaseSegmentor):
    """A CLIP model whose pixel embeddings are compared with the embeddings of class names.

    With the read-outs of ``denseclip.clip.presets`` this is every training-free method of the family; methods that
    learn something subclass it and override :meth:`head_logits`, :meth:`dense_features` or :meth:`loss`.

    Pictures of any size work: they are padded at the right and bottom to whole patches, and the padding is cut off
    before scores are resized, so that labels stay where the pixels are.

    Args:
        clip: The CLIP model: a dict with ``model`` and ``pretrained`` (and what else :class:`OpenCLIPParts` takes; or
            ``parts``, a built one), and with ``preset`` or ``read_out`` or both (single settings replace those of the
            preset); or a built ``OpenCLIPParts``. Weights are read at the first use, unless a checkpoint was loaded
            before.
        vocabulary: Anything that ``Vocabulary.of`` accepts; None waits for :meth:`set_vocabulary`.
        templates: Set of sentences for class names, see ``denseclip.clip.templates``. This and the next four take the
            preset's value when None, or else that of :data:`.model_settings.DEFAULTS`.
        merge: ``'mean'`` of a class's names, or ``'max'`` of their scores.
        scale: Factor of the cosines before a softmax.
        output: What :meth:`head_logits` returns and windows average: ``'probabilities'`` over the classes (MaskCLIP,
            CLIP-DINOiser), or ``'cosines'`` (SCLIP and its relatives).
        padding: ``'black'`` pixels, or ``'zero'`` after normalisation.
        stretch: Resize the padded map to the picture as CLIP-DINOiser's evaluation does, which moves labels a little
            when a side is no multiple of the patch.
        affinity: Affinity provider for ``attention='external'`` and ``spread``: a module or its config. Settings
            without ``type`` replace those of the preset.
        spread: Settings of :class:`.spreading.LabelPropagation`: scores of all windows travel over one graph of
            patches before labels are taken (LPOSS); None: they do not.
        join: Settings of :class:`.whole_picture.WindowJoin`: the last block runs over the tokens of all windows
            (GLA-CLIP), ``{}`` for the usual ones; None: of each window by itself.
        regions: Region provider; each region takes the label that most of its pixels have. An affinity with a ``scope``
            ends at their borders (CorrCLIP), and then all windows are run, whatever ``test_cfg.refine`` says.
        sam: :class:`~denseclip.models.providers.SAMAggregation` or its settings: windows are put together before they
            are labelled, averaged as Segment Anything looks, and labels are refined by its masks (Trident); None: they
            are not.
        post: Settings of :class:`PostProcessing`; single settings replace those of the preset.
        cache_dir: Folder of the disk cache of text embeddings; None keeps them in memory only. Common nouns that scores
            of words need are kept in the user's cache (``$DENSECLIP_CACHE``).
        data_preprocessor: MMSeg data preprocessor; None makes one with the normalisation that the weights need.
        test_cfg: See :class:`.label_inference.LabelMapInference` and :class:`.choosing.ChoosesClasses`; ``mode`` is
            ``'whole'`` by default.
        init_cfg: MMEngine initialisation config.

    Attributes:
        tower: Image tower with its read-out.
        text: Class embeddings.
        parts: The CLIP model that both belong to.
    """

    tta_model = 'ScoreAverageTTAModel'
    tower_sees_input = True
    tower: ImageTower
    align_corners = False
    has_pixel_features = True
    sourced_prefixes = ('tower.', 'text.')
    weights_named_by: tuple[str, ...] = ('clip',)

    def __init__(
        self,
        clip: Mapping[str, Any] | OpenCLIPParts,
        vocabulary: VocabularyLike | None = None,
        templates: str | Sequence[str] | None = None,
        merge: str | None = None,
        scale: float | None = None,
        output: str | None = None,
        padding: str | None = None,
        stretch: bool = False,
        affinity: Mapping[str, Any] | nn.Module | None = None,
        spread: Mapping[str, Any] | None = None,
        join: Mapping[str, Any] | None = None,
        regions: Mapping[str, Any] | nn.Module | None = None,
        sam: Mapping[str, Any] | nn.Module | None = None,
        post: Mapping[str, Any] | PostProcessing | None = None,
        cache_dir: str | Path | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        settings = dict(clip) if isinstance(clip, Mapping) else {}
        chosen = {name: settings.pop(name, None) for name in ('read_out', 'preset')}
        given = {'templates': templates, 'merge': merge, 'scale': scale, 'output': output, 'padding': padding}
        other = {'affinity': affinity, 'spread': spread, 'join': join, 'sam': sam}
        wanted = model_settings(chosen['preset'], {**given, **other})
        parts = settings.pop('parts', None) or (OpenCLIPParts(**settings) if isinstance(clip, Mapping) else clip)
        spec = parts.clip.preprocess
        if data_preprocessor is None:
            data_preprocessor = {'type': 'SegDataPreProcessor', 'bgr_to_rgb': True, 'pad_val': 0, **spec.as_255()}
        super().__init__(data_preprocessor=build_module(data_preprocessor), init_cfg=init_cfg)
        self.own(parts)
        self.post = post if isinstance(post, PostProcessing) else PostProcessing(**{**wanted['post'], **(post or {})})
        self.scale, self.output = wanted['scale'], wanted['output']
        self.padding, self.stretch = wanted['padding'], stretch
        read_out = self.post.adapt(self.adapt_read_out(read_out_of(chosen['read_out'], chosen['preset'])))
        self.tower, text = parts.towers(read_out)
        self.tower.eval().requires_grad_(False)
        self.text = ClassEmbeddings(text, wanted['templates'], wanted['merge'], cache_dir)
        self.unrelated_text = UnrelatedText(text, self.text.bank.templates)
        self.remove_prompts = PromptRemoval(text, self.post.remove_prompts)
        self._comparison: Comparison | None = None
        self._no_text: list[NoText] = []  # in a list: it comes from CLIPN's file, never from a checkpoint
        self.join = self.accept_join(wanted['join'])
        self.affinity: Any = None if wanted['affinity'] is None else build_module(wanted['affinity'])
        self.regions = None if regions is None else build_module(regions)
        self.sam = self.accept_sam(wanted['sam'], join=wanted['join'], spread=wanted['spread'], regions=regions)
        self.has_pixel_features = self.sam is None
        self.test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        self.keep_logits = bool(self.test_cfg.get('keep_logits', False))
        self.spread = None if wanted['spread'] is None else LabelPropagation(**wanted['spread'])
        self.active_vocabulary = self.test_cfg.get('active_vocabulary')
        self._guided = read_out.attention == 'external'
        if (self._guided or self.spread is not None) != (self.affinity is not None):
            raise ValueError("attention='external' (or spread=) and affinity= need each other: give both or none.")
        self.check_regions()
        self.check_presence()
        self.post.check(self._gives_probabilities)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    # --- weights ------------------------------------------------------------------------------------------------

    def adapt_read_out(self, read_out: Any) -> Any:
        """The read-out that a subclass needs, from the one that was asked for."""
        return read_out

    def train(self, mode: bool = True) -> OpenVocabularySegmentor:
        """Set the mode; the frozen CLIP towers stay in evaluation mode."""
        super().train(mode)
        self.tower.eval()
        self.text.tower.eval()
        return self

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Number of labels, the background included when the vocabulary makes one."""
        return len(self.text.names) + (self.vocabulary.background in ('threshold', 'clipn', 'gda'))

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Refuse a learned background, and one of CLIPN without its weights."""
        if vocabulary.background == 'learned':
            raise ValueError(f'{type(self).__name__} has no learned background; use none, prompts or threshold.')
        self.post.check(vocabulary.background == 'clipn')
        if vocabulary.background == 'clipn' and not self._no_text:
            self._no_text.append(NoText(self.parts.no_text_tower(), self.text.bank))
        return vocabulary

    def label_names(self) -> tuple[str, ...]:
        """Class names, and the background where it has a label."""
        return self.text.names + (('background',) if self.num_classes > len(self.text.names) else ())

    # --- from pictures to scores --------------------------------------------------------------------------------

    def pad(self, images: Tensor, least: Sequence[int] | None = None) -> Tensor:
        """Pad at the right and bottom to whole patches.

        Args:
            images: Normalised pictures (N, 3, H, W).
            least: Pad a side only if it is shorter than this (sliding windows need no padding otherwise).
        """
        size = whole_multiples(size_of(images), self.tower.multiple)
        if least is not None:
            sides = zip(size_of(images), size, least, strict=True)
            height, width = (side if side >= wanted else whole for side, whole, wanted in sides)
            size = height, width
        spec = self.tower.preprocess
        black = [-m / s for m, s in zip(spec.mean, spec.std, strict=True)]
        return pad_to(images, size, None if self.padding == 'zero' else black)

    def dense_features(self, images: Tensor) -> Tensor:
        """Pixel embeddings in the joint space, not normalised.

        Args:
            images: Normalised pictures (N, 3, H, W) of any size.

        Returns:
            (N, E, h, w), one per patch of the padded pictures.
        """
        dense = self.read(images).dense
        assert dense is not None
        return dense

    def class_embeddings(self) -> TextEmbeddings:
        """Embeddings of the vocabulary, encoded once."""
        self.need_weights()
        return self.text()

    def class_scores(self, dense: Tensor, keys: Tensor | None = None, pooled: Tensor | None = None) -> Tensor:
        """Scores of the classes from pixel embeddings.

        Args:
            dense: (N, E, h, w).
            keys: Keys of the last block (N, hw, C), for key smoothing.
            pooled: Image embeddings (N, E), for ``post.presence``.

        Returns:
            (N, K, h, w) probabilities, or cosines; with ``merge='max'`` cosines have one plane per name.
        """
        text = self.class_embeddings()
        seen = self.remove_prompts(dense)
        whole = pooled if self._of_picture is None else self._of_picture
        moved_names = self.post.cosines(seen, text.embeddings, whole, self.name_groups(text))
        cosines = self.post.denoise(moved_names, self.scale)
        if self.pixel_head is not None or self._trail is not None:  # every name of a class moves as the class does
            logits = text.class_scores(cosines) * self.scale
            moved = (self.by_head(logits, dense, self._class_texts(text)) - logits) / self.scale
            cosines = cosines + moved.index_select(1, text.class_index)
        if self.score_request is not None:
            self._comparison = self._compare_words(seen, cosines)
        if not self._gives_probabilities:
            return cosines
        if self._says_no:
            no_text, rule = self._no_text[0], self.post.unknown_rule
            probabilities = no_text.scores(self.vocabulary, text, seen, cosines, self.scale, rule)
        else:
            probabilities = text.class_scores((cosines * self.scale).softmax(dim=1))
        if self.post.key_smoothing is None:
            return probabilities
        assert keys is not None
        return self.post.smooth(probabilities, keys)

    def _class_texts(self, text: TextEmbeddings) -> PixelTexts:
        """One row of the classes' texts each, for heads; names that compete are averaged."""
        rows = text.embeddings
        if len(rows) != len(text):
            rows = rows.new_zeros(len(text), rows.shape[1]).index_add_(0, text.class_index.to(rows.device), rows)
        return PixelTexts(rows[None], float(self.scale))

    @property
    def _gives_probabilities(self) -> bool:
        return self.output == 'probabilities' or self.post.key_smoothing is not None or self._says_no

    @property
    def _says_no(self) -> bool:
        """Whether CLIPN's second text tower gives one more plane, after those of the classes."""
        return self.text.in_use is not None and self.text.in_use.background == 'clipn'

    def head_logits(self, images: Tensor) -> Tensor:
        """Scores at the resolution of the patches, (N, K, h, w); see :meth:`class_scores`."""
        out = self.read(images)
        assert out.dense is not None
        return self.class_scores(out.dense, out.keys, out.pooled)

    def head_scores(self, images: Tensor) -> tuple[Tensor, Comparison | None]:
        """See :class:`.label_inference.LabelMapInference`; the comparison is that of the last :meth:`class_scores`."""
        self._comparison = None
        logits = self.head_logits(images)
        found, self._comparison = self._comparison, None
        return logits, found

    def _compare_words(self, dense: Tensor, cosines: Tensor) -> Comparison:
        """How unrelated words are scored on pixel embeddings (N, E, h, w); ``cosines`` are those of the vocabulary."""
        text = self.unrelated_text(self.vocabulary)
        offset = (cosines * self.scale).logsumexp(dim=1) if self._gives_probabilities else None
        return Comparison(lambda features: cosine_scores(features, text) * self.scale, dense, offset)

    # --- from scores to labels ----------------------------------------------------------------------------------

    def num_channels(self) -> int:
        """Number of planes of :meth:`head_logits`."""
        return len(self.text.names) + self._says_no if self._gives_probabilities else self.text.num_rows

    def _predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> list[SegDataSample]:
        """See :class:`.label_inference.LabelMapInference`."""
        samples = data_samples or [SegDataSample() for _ in inputs]
        scored = self.keep_logits or any(s.metainfo.get('flip') for s in samples)
        wanted = self.score_request
        for sample, (labels, scores, words) in zip(samples, self._results(inputs, samples, scored), strict=True):
            sample.set_data({'pred_sem_seg': PixelData(data=labels.long().unsqueeze(0))})
            if scored:
                sample.set_data({'seg_logits': PixelData(data=scores)})
            if words is not None:
                sample.set_data({'word_scores': words})
            if wanted is not None and wanted.pixel_scores:
                sample.set_data({'pixel_scores': PixelData(data=scores)})
        return samples

    def labels_of_scores(self, scores: Tensor) -> Tensor:
        """Labels of averaged scores, by the thresholds of :class:`.post_processing.PostProcessing`.

        Raises:
            ValueError: If labels depend on more than these scores.
        """
        threshold = self.vocabulary.least_score
        thresholds = (threshold, self.post.prob_threshold, self.post.area_threshold)
        if self.vocabulary.background == 'gda':
            raise ValueError("background='gda' is found in features, not in averaged scores: test without --tta.")
        if self.post.normalize and any(value is not None for value in thresholds):
            raise ValueError(
                'post.normalize hides what a threshold looks at from an average over views: leave one out.'
            )
        return self.post.labels(scores, threshold, self._background_label(threshold))[0]

    # --- MMSeg's other entrances --------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """See :meth:`dense_features`."""
        return self.dense_features(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Scores (N, K, H, W) of whole pictures in their size; see :meth:`head_logits`."""
        del batch_data_samples
        padded = inputs if self.stretch else self.pad(inputs)
        scores = resize(self.head_logits(padded), size_of(padded))
        return scores[:, :, : inputs.shape[2], : inputs.shape[3]]

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """See :meth:`head_logits`."""
        del data_samples
        return self.head_logits(inputs)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Nothing is learned here; methods that learn override this."""
        raise NotImplementedError(
            f'{type(self).__name__} is used as it is, there is nothing to train. CLIP-DINOiser and MaskCLIP+ learn '
            'from it (configs/dinoiser).'
        )
