"""A point sampler for whole-slide-data, named in its settings. Its own gives points between the pixels of the second level."""

from shapely.geometry import Point
from wholeslidedata.samplers.pointsampler import RandomPointSampler


class WholePixels(RandomPointSampler):
    """Random points that are pixels of all levels."""

    def sample(self, sample_reference):
        point = super().sample(sample_reference)
        step = int(self._dataset.get_wsi_from_reference(sample_reference).downsamplings[-1])
        return Point(point.x // step * step, point.y // step * step)
