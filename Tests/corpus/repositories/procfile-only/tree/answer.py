@shared/answer.py
